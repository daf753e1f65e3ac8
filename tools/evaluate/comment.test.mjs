import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { comment, readEvaluation } from "./comment.mjs";

const SHA = "2".repeat(40);
/** @type {import("./result.mjs").Evaluation} */
const RESULT = {
  format: 1,
  pipeline: "smoke",
  base: { ref: "main", commit: "1".repeat(40) },
  head: { commit: SHA, changed: false },
  ...{ metric: "FD (faces-net)", samples: 32, referenceImages: 96 },
  ...{ score: 13, baseScore: 12, repeats: [12, 13], noise: 2 },
  ...{ verdict: "worse within noise", incomparable: null, others: [], stages: [] },
};

/**
 * A stand-in of GitHub with one pull request and its comments.
 *
 * @param {{ head?: string, comments?: { id: number, body: string, user: { type: string } }[] }} there
 */
async function post({ head = SHA, comments = [] }) {
  /** @type {{ line: string, token: string | undefined, body: any }[]} */
  const asked = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += String(chunk)));
    request.on("end", () => {
      const { pathname, searchParams } = new URL(request.url ?? "", "http://server");
      asked.push({
        ...{ line: `${request.method} ${pathname}`, token: request.headers.authorization },
        body: text === "" ? undefined : JSON.parse(text),
      });
      const page = Number(searchParams.get("page") ?? 1);
      const answer = pathname.endsWith("/pulls")
        ? [{ number: 7, state: "open", head: { sha: head } }]
        : request.method === "GET"
          ? comments.slice((page - 1) * 100, page * 100)
          : {};
      response.end(JSON.stringify(answer));
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  try {
    const said = await comment(RESULT, {
      api: `http://127.0.0.1:${port}`,
      repository: "some/repo",
      token: "secret",
      sha: SHA,
    });
    return { said, asked };
  } finally {
    server.close();
  }
}

const bot = { type: "Bot" };

test("comments on the pull request whose head was evaluated", async () => {
  const { said, asked } = await post({ comments: [{ id: 1, body: "hello", user: bot }] });
  expect(said).toBe("commented on pull request 7");
  expect(asked.map(({ line }) => line)).toEqual([
    `GET /repos/some/repo/commits/${SHA}/pulls`,
    "GET /repos/some/repo/issues/7/comments",
    "POST /repos/some/repo/issues/7/comments",
  ]);
  expect(asked.at(-1)).toMatchObject({
    token: "Bearer secret",
    body: { body: expect.stringContaining("### `smoke`: worse within noise") },
  });
});

test("updates its own comment, on whatever page it is, and nobody else's", async () => {
  const own = "<!-- madformer evaluation -->\nold";
  const others = Array.from({ length: 130 }, (_, id) => ({
    id,
    body: id === 3 ? own : "text",
    user: { type: "User" },
  }));
  const { said, asked } = await post({ comments: [...others, { id: 999, body: own, user: bot }] });
  expect(said).toBe("updated the comment under pull request 7");
  expect(asked.at(-1)?.line).toBe("PATCH /repos/some/repo/issues/comments/999");
});

test("does nothing where the head has moved on", async () => {
  const { said, asked } = await post({ head: "3".repeat(40) });
  expect(said).toMatch(/^no open pull request has the head/);
  expect(asked).toHaveLength(1);
});

test("reads no file that is no evaluation, or a large one", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "comment-"));
  const file = path.join(folder, "evaluation.json");
  try {
    writeFileSync(file, JSON.stringify(RESULT));
    expect(readEvaluation(file)).toEqual(RESULT);
    writeFileSync(file, JSON.stringify({ ...RESULT, pipeline: "@everyone" }));
    expect(() => readEvaluation(file)).toThrow("is no evaluation: pipeline");
    writeFileSync(file, " ".repeat(2 ** 20 + 1));
    expect(() => readEvaluation(file)).toThrow("has 1048577 bytes, expected 1048576 at most");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
