import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { DataError, download, getPage, Listing, NETWORK_LIMITS, type NetworkLimits } from "@madformer/artifacts";
import { z } from "zod";
import { globPattern, missingFrom } from "./glob.js";
import type { TarSource } from "./tars.js";

/** Where a repository is. */
export interface HubRepository {
  /** What it is a repository of. Default `datasets`. */
  readonly of?: "datasets" | "models";
  /** `owner/name`. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** Which of its files, as in `globPattern`. */
  readonly pattern: string;
  /** Those of `NETWORK_LIMITS` that are to be others. */
  readonly limits?: Partial<NetworkLimits>;
  /** Told, now and then, that another process is getting the same file. */
  readonly onWait?: (message: string) => void;
}

const Entry = z.object({
  type: z.string().max(64),
  path: z
    .string()
    .max(4096)
    .regex(/^\P{Surrogate}*$/u), // half a character is in no URL
  size: z.int().nonnegative(),
  oid: z.string().max(128),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() }).optional(),
});
type Entry = z.infer<typeof Entry>;

const sizeOf = (entry: Entry): number => entry.lfs?.size ?? entry.size;

/**
 * The files of a repository that fit a pattern, sorted by path, as sources of `takeTars`: downloaded with resume,
 * checked against the size and the SHA-256 (or, of files outside of Git LFS, the Git hash) that the hub lists.
 *
 * Environment: `HF_ENDPOINT` (default `https://huggingface.co`), of which all pages are asked; `HF_TOKEN`, sent to that
 * host alone.
 *
 * Source: the hub's API, `GET /api/{of}/{repo}/tree/{revision}?recursive=true`, pages linked by `Link: rel="next"`.
 *
 * @throws {DataError} If the hub does not list the repository, or none of its files fits.
 */
export async function hubFiles(repository: HubRepository, signal: AbortSignal): Promise<TarSource[]> {
  const { of = "datasets", repo, revision, pattern, limits = {}, onWait } = repository;
  const endpoint = (process.env["HF_ENDPOINT"] ?? "https://huggingface.co").replace(/\/+$/, "");
  if (!URL.canParse(endpoint) || !/^https?:/.test(endpoint))
    throw new DataError(`Cannot use HF_ENDPOINT ${JSON.stringify(endpoint)}: it is no URL of a web server`);
  if (new URL(endpoint).username !== "" || new URL(endpoint).password !== "")
    throw new DataError("Cannot use HF_ENDPOINT: it holds a password, expected a token in HF_TOKEN");
  const token = process.env["HF_TOKEN"]?.trim() ?? "";
  if (!/^[!-~]*$/.test(token)) throw new DataError("Cannot use HF_TOKEN: it holds a character that no token has");
  const hub: Hub = {
    endpoint,
    headers: token === "" ? {} : { authorization: `Bearer ${token}` },
    credentials:
      token === ""
        ? `${repo} is private, gated, or none; expected a token in HF_TOKEN that may read it`
        : `the token in HF_TOKEN may not read ${repo}; a gated one asks for consent on its page`,
    signal,
    limits,
    onWait,
  };
  const at = encodeURIComponent(revision);
  const entries = await listFiles(`${endpoint}/api/${of}/${repo}/tree/${at}?recursive=true`, hub);
  const fits = globPattern(pattern);
  const files = entries.filter((entry) => entry.type === "file" && fits.test(entry.path));
  if (files.length === 0)
    throw new DataError(
      `Cannot use ${repo} at ${revision}: none of its ${entries.length} files fits ${JSON.stringify(pattern)}`,
    );
  const missing = missingFrom(
    files.map(({ path }) => path),
    pattern,
  );
  if (missing !== undefined)
    throw new DataError(
      `Cannot use ${repo} at ${revision}: it has no ${JSON.stringify(missing)}, which ${JSON.stringify(pattern)} counts`,
    );
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  const maxBytes = limits.fileBytes ?? NETWORK_LIMITS.fileBytes;
  const large = files.find((entry) => sizeOf(entry) > maxBytes);
  if (large)
    throw new DataError(
      `Cannot use ${repo} at ${revision}: ${JSON.stringify(large.path)} has ${sizeOf(large)} bytes, expected ${maxBytes} at most`,
    );
  const twice = files.find(({ path }, i) => path === files[i + 1]?.path);
  if (twice) throw new DataError(`Cannot use ${repo} at ${revision}: it lists ${JSON.stringify(twice.path)} twice`);
  return files.map((entry) => {
    const path = entry.path.split("/").map(encodeURIComponent).join("/");
    return tarSource(entry, `${endpoint}/${of === "models" ? "" : "datasets/"}${repo}/resolve/${at}/${path}`, hub);
  });
}

function tarSource(entry: Entry, url: string, { headers, credentials, signal, limits, onWait }: Hub): TarSource {
  const bytes = sizeOf(entry);
  return {
    name: entry.path,
    id: entry.lfs?.oid ?? entry.oid,
    sizeBytes: bytes,
    fetch: async (path, onProgress) => {
      await download(url, path, {
        ...(entry.lfs && { sha256: entry.lfs.oid }),
        bytes,
        headers,
        credentials,
        signal,
        limits,
        onWait,
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

/** Where a repository is listed, and who asks. */
interface Hub {
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly credentials: string;
  readonly signal: AbortSignal;
  readonly limits: Partial<NetworkLimits>;
  readonly onWait: HubRepository["onWait"];
}

async function listFiles(first: string, { endpoint, headers, credentials, signal, limits }: Hub): Promise<Entry[]> {
  const [entries, listing]: [Entry[], Listing] = [[], new Listing(limits)];
  for (let url: string | undefined = first; url !== undefined;) {
    try {
      listing.page(url);
      const page = await getPage(new URL(url), { headers, signal, credentials, limits });
      for (const entry of entriesOf(page.text)) {
        listing.entry(entry.path, entry.oid);
        entries.push(entry);
      }
      const next = /<([^>]+)>;\s*rel="?next"?/.exec(page.headers.get("link") ?? "")?.[1];
      url = next && pageOf(next, url, endpoint);
    } catch (cause) {
      signal.throwIfAborted();
      throw new DataError(`Cannot list ${url}: ${(cause as Error).message}`, { cause });
    }
  }
  return entries;
}

function entriesOf(text: string): Entry[] {
  try {
    return z.array(Entry).parse(JSON.parse(text));
  } catch (cause) {
    throw new DataError("the answer is no list of files", { cause });
  }
}

/** The URL of a next page. A mirror passes on what the hub says, which names the hub: it is asked of the mirror. */
function pageOf(next: string, url: string, endpoint: string): string {
  if (!URL.canParse(next, url)) throw new DataError("its next page is no URL");
  const to = new URL(next, url);
  if (to.origin === new URL(endpoint).origin) return to.href;
  if (to.hostname === "huggingface.co") return `${endpoint}${to.pathname}${to.search}`;
  throw new DataError(`its next page is on another host, ${to.host}`);
}
