/**
 * node tools/evaluate/comment.mjs <evaluation.json>
 *
 * Puts the table of an evaluation under the pull request it is of, on GitHub: one comment, updated in place. Runs with
 * a token that may write, so it takes nothing from the evaluation's run but numbers, digests and quoted text: that run
 * may have been a stranger's.
 *
 * Environment: GITHUB_TOKEN, GITHUB_REPOSITORY (owner/name), GITHUB_API_URL, HEAD_SHA (the commit that was evaluated,
 * as GitHub says).
 */
import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Evaluation, markdownOf } from "./result.mjs";

const MARK = "<!-- madformer evaluation -->";
const MAX_BYTES = 2 ** 20;
/** GitHub's limit for a comment is 65,536 characters. */
const MAX_CHARACTERS = 60_000;
const MAX_PAGES = 30;
const DEADLINE_MS = 30_000;

/**
 * @param {string} file
 * @returns {Evaluation}
 */
export function readEvaluation(file) {
  const { size } = statSync(file);
  if (size > MAX_BYTES) throw new RangeError(`${file} has ${size} bytes, expected ${MAX_BYTES} at most`);
  const { data, error } = Evaluation.safeParse(JSON.parse(readFileSync(file, "utf8")));
  if (data === undefined)
    throw new TypeError(`${file} is no evaluation: ${error.issues[0]?.path.join(".")} ${error.issues[0]?.message}`);
  return data;
}

/**
 * @param {Evaluation} result
 * @param {{ api: string, repository: string, token: string, sha: string }} where
 * @returns {Promise<string>} What was done.
 */
export async function comment(result, { api, repository, token, sha }) {
  const body = `${MARK}\n${markdownOf(result)}`.slice(0, MAX_CHARACTERS);
  const ask = async (
    /** @type {string} */ method,
    /** @type {string} */ path,
    /** @type {unknown} */ content = undefined,
  ) => {
    const response = await fetch(`${api}/repos/${repository}${path}`, {
      method,
      headers: {
        accept: "application/vnd.github+json",
        authorization: `Bearer ${token}`,
        "x-github-api-version": "2022-11-28",
        ...(content === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(content === undefined ? {} : { body: JSON.stringify(content) }),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (!response.ok) throw new Error(`${method} ${path}: GitHub answered ${response.status}`);
    return await response.json();
  };
  // Which pull request it is of, GitHub says, not the run.
  const pulls = /** @type {{ number: number, state: string, head: { sha: string } }[]} */ (
    await ask("GET", `/commits/${sha}/pulls`)
  );
  const pull = pulls.find(({ state, head }) => state === "open" && head.sha === sha);
  if (!pull) return `no open pull request has the head ${sha}: nothing to do`;
  for (let page = 1; page <= MAX_PAGES; page++) {
    const comments = /** @type {{ id: number, body?: string, user?: { type: string } }[]} */ (
      await ask("GET", `/issues/${pull.number}/comments?per_page=100&page=${page}`)
    );
    const mine = comments.find(({ body, user }) => user?.type === "Bot" && body?.startsWith(MARK));
    if (mine) {
      await ask("PATCH", `/issues/comments/${mine.id}`, { body });
      return `updated the comment under pull request ${pull.number}`;
    }
    if (comments.length < 100) break;
  }
  await ask("POST", `/issues/${pull.number}/comments`, { body });
  return `commented on pull request ${pull.number}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [file, ...rest] = process.argv.slice(2);
  const {
    GITHUB_API_URL: api = "https://api.github.com",
    GITHUB_REPOSITORY: repository = "",
    GITHUB_TOKEN: token = "",
    HEAD_SHA: sha = "",
  } = process.env;
  try {
    if (file === undefined || rest.length > 0) throw new TypeError("expected one argument, the file evaluation.json");
    if (!/^[\w.-]+\/[\w.-]+$/.test(repository)) throw new TypeError("GITHUB_REPOSITORY is not owner/name");
    if (!/^[0-9a-f]{40}$/.test(sha)) throw new TypeError("HEAD_SHA is no commit");
    if (token === "") throw new TypeError("GITHUB_TOKEN is missing");
    console.log(await comment(readEvaluation(file), { api, repository, token, sha }));
  } catch (error) {
    console.error(`Cannot comment: ${/** @type {Error} */ (error).message}`);
    process.exitCode = 1;
  }
}
