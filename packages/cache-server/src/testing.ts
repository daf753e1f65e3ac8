/** What the tests share: servers in this process, and stores that fail. */
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Cache } from "./cache.js";
import { LIMITS, type Limits } from "./limits.js";
import { createCacheServer, stopServer } from "./server.js";
import { Spool } from "./spool.js";
import type { BlobStore } from "./store/blob-store.js";
import { FolderStore } from "./store/folder.js";
import { Tokens } from "./tokens.js";

export const READ_TOKEN = "of-those-who-only-read";
export const WRITE_TOKEN = "of-those-who-also-write";

/** A line of the log. */
export type Line = Readonly<Record<string, unknown>>;

export interface Served {
  readonly url: string;
  readonly log: Line[];
  /** What lies in the spool. */
  readonly spoolFolder: string;
}

/** A server in front of a store, while `use` runs. */
export async function withCache<T>(
  store: BlobStore,
  limits: Partial<Limits>,
  use: (served: Served) => Promise<T>,
  write?: (line: string) => void,
): Promise<T> {
  return inFolder(async (spoolFolder) => {
    const log: Line[] = [];
    await using spool = await Spool.open(spoolFolder);
    const all: Limits = { ...LIMITS, ...limits };
    const server = createCacheServer({
      cache: new Cache(store, spool, all),
      spool,
      tokens: new Tokens(READ_TOKEN, WRITE_TOKEN),
      limits: all,
      log: pino({ base: null }, { write: write ?? ((line) => void log.push(JSON.parse(line) as Line)) }),
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    try {
      return await use({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, log, spoolFolder });
    } finally {
      await stopServer(server, 0);
    }
  });
}

/** A folder of its own, while `use` runs. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "cache-server-test-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The store of a folder, some of whose methods do something else. */
export async function folderStore(folder: string, faults: Partial<BlobStore> = {}): Promise<BlobStore> {
  const store: BlobStore = await FolderStore.open(folder);
  return {
    name: store.name,
    read: (...args) => store.read(...args),
    size: (...args) => store.size(...args),
    write: (...args) => store.write(...args),
    close: () => store.close(),
    ...faults,
  };
}

/** Nothing ever comes. */
export const never = (): Promise<never> => new Promise(() => undefined);

/** A body whose beginning comes, and then nothing. */
export async function* stalling(beginning: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield beginning;
  await never();
}

/** A body whose beginning comes, and then an error. */
export async function* cut(beginning: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield beginning;
  throw new Error("socket hang up");
}

/** Sets environment variables while `use` runs. */
export async function withEnvironment<T>(
  variables: Readonly<Record<string, string | undefined>>,
  use: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  const set = (entries: Iterable<readonly [string, string | undefined]>): void => {
    for (const [name, value] of entries)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
  };
  set(Object.entries(variables));
  try {
    return await use();
  } finally {
    set(before);
  }
}
