import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { DataError, download } from "@madformer/artifacts";
import { z } from "zod";
import { globPattern } from "./glob.js";
import type { TarSource } from "./tars.js";

/** Where a repository of data sets is. */
export interface HubRepository {
  /** `owner/name`. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** Which of its files, as in `globPattern`. */
  readonly pattern: string;
  /** The pause before a second request, milliseconds; it doubles. */
  readonly retryMs?: number;
}

const Entry = z.object({
  type: z.string(),
  path: z.string().max(4096),
  size: z.int().nonnegative(),
  oid: z.string(),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() }).optional(),
});
type Entry = z.infer<typeof Entry>;

const MAX_PAGES = 10_000;
const MAX_PAGE_BYTES = 2 ** 26;
const ATTEMPTS = 5;
const REQUEST_MS = 60_000;

/**
 * The files of a repository that fit a pattern, sorted by path, as sources of `takeTars`: downloaded with resume, checked
 * against the size and the SHA-256 (or, of files outside of Git LFS, the Git hash) that the hub lists.
 *
 * Environment: `HF_ENDPOINT` (default `https://huggingface.co`); `HF_TOKEN`, sent to that host alone.
 *
 * Source: the hub's API, `GET /api/datasets/{repo}/tree/{revision}?recursive=true`, pages linked by `Link: rel="next"`.
 *
 * @throws {DataError} If the hub does not list the repository, or none of its files fits.
 */
export async function hubTars(repository: HubRepository, signal: AbortSignal): Promise<TarSource[]> {
  const { repo, revision, pattern, retryMs = 500 } = repository;
  const endpoint = (process.env["HF_ENDPOINT"] ?? "https://huggingface.co").replace(/\/+$/, "");
  if (!URL.canParse(endpoint) || !/^https?:/.test(endpoint))
    throw new DataError(`Cannot use HF_ENDPOINT ${JSON.stringify(endpoint)}: it is no URL of a web server`);
  const token = process.env["HF_TOKEN"];
  const headers = token === undefined || token === "" ? {} : { authorization: `Bearer ${token}` };
  const at = encodeURIComponent(revision);
  const entries = await listFiles(`${endpoint}/api/datasets/${repo}/tree/${at}?recursive=true`, {
    headers,
    signal,
    retryMs,
  });
  const fits = globPattern(pattern);
  const files = entries.filter((entry) => entry.type === "file" && fits.test(entry.path));
  if (files.length === 0)
    throw new DataError(
      `Cannot use ${repo} at ${revision}: none of its ${entries.length} files fits ${JSON.stringify(pattern)}`,
    );
  return files
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map((entry) => {
      const path = entry.path.split("/").map(encodeURIComponent).join("/");
      return tarSource(entry, `${endpoint}/datasets/${repo}/resolve/${at}/${path}`, headers, signal);
    });
}

function tarSource(
  entry: Entry,
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): TarSource {
  const bytes = entry.lfs?.size ?? entry.size;
  return {
    name: entry.path,
    id: entry.lfs?.oid ?? entry.oid,
    fetch: async (path, onProgress) => {
      await download(url, path, {
        ...(entry.lfs && { sha256: entry.lfs.oid }),
        bytes,
        headers,
        signal,
        onProgress: (done) => onProgress(done / Math.max(1, bytes)),
      });
      if (!entry.lfs) await checkGitHash(path, bytes, entry);
    },
  };
}

/** Git's name of a file: SHA-1 of its size and bytes. */
async function checkGitHash(path: string, bytes: number, { oid, path: name }: Entry): Promise<void> {
  const hash = createHash("sha1").update(`blob ${bytes}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  const found = hash.digest("hex");
  if (found === oid) return;
  await rm(path, { force: true });
  throw new DataError(`Cannot use ${JSON.stringify(name)}: its Git hash is ${found}, expected ${oid}`);
}

interface Listing {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly retryMs: number;
}

async function listFiles(first: string, listing: Listing): Promise<Entry[]> {
  const entries: Entry[] = [];
  let url = first;
  for (let page = 0; page < MAX_PAGES; page++) {
    const { body, next } = await getPage(url, listing);
    entries.push(...body);
    if (next === undefined) return entries;
    url = new URL(next, url).href;
    if (new URL(url).origin !== new URL(first).origin)
      throw new DataError(`Cannot list ${first}: its next page is on another host, ${new URL(url).host}`);
  }
  throw new DataError(`Cannot list ${first}: it has more than ${MAX_PAGES} pages`);
}

interface Page {
  readonly body: Entry[];
  readonly next: string | undefined;
}

async function getPage(url: string, { headers, signal, retryMs }: Listing): Promise<Page> {
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    let problem: string;
    try {
      const response = await fetch(url, {
        headers,
        signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
      });
      if (response.ok) {
        const body = z.array(Entry).parse(JSON.parse(await textOf(response, url)));
        return { body, next: /<([^>]+)>;\s*rel="?next"?/.exec(response.headers.get("link") ?? "")?.[1] };
      }
      await response.body?.cancel();
      problem = `the server answered ${response.status} ${response.statusText}`.trim();
      if (response.status < 500 && response.status !== 429) throw new DataError(`Cannot list ${url}: ${problem}`);
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof DataError) throw cause;
      if (cause instanceof SyntaxError || cause instanceof z.ZodError)
        throw new DataError(`Cannot list ${url}: the answer is no list of files`, { cause });
      const { cause: deeper, message } = cause as Error;
      problem = (deeper as Error | undefined)?.message ?? message;
    }
    if (attempt === ATTEMPTS) throw new DataError(`Cannot list ${url}: ${problem}; tried ${ATTEMPTS} times`);
    await sleep(retryMs * 2 ** (attempt - 1), undefined, { signal });
  }
}

/** A page's text, as long as it is no more than a page. */
async function textOf(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_PAGE_BYTES)
      throw new DataError(`Cannot list ${url}: a page takes more than ${MAX_PAGE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
