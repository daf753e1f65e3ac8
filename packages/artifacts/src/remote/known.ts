import { appendFile, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { makeFolder, writeText } from "../store/files.js";
import { sha256, type Digest } from "../store/manifest.js";
import type { Store } from "../store/store.js";

/** Below the local store: one file for each remote store that it has met. */
export const KNOWN_FOLDER = "remotes";

const Header = z.strictObject({
  format: z.literal(1),
  remote: z.string(),
  generation: z.string(),
  once: z.boolean().optional(),
  compares: z.boolean().optional(),
});

/** What was found out about a server by trying. */
export interface Abilities {
  /** Whether it writes nothing where something is, if it is asked so. */
  readonly once: boolean;
  /** Whether it compares bytes with the SHA-256 that a request names. */
  readonly compares: boolean;
}

/**
 * What is known to lie in a remote store, so that nobody has to ask again: a file of lines that only grows. It holds as
 * long as nothing was collected there: each collection gives the remote store another generation, and a list of another
 * one is dropped. Losing it costs requests, nothing else; a damaged line names something that nobody has.
 */
export class Known {
  private readonly names = new Set<string>();
  private fresh: string[] = [];

  private constructor(
    private readonly path: string,
    private readonly remote: string,
    private readonly root: string,
    private generation: string,
    private abilities: Partial<Abilities>,
  ) {}

  /** @param remote What tells it from others: its URI and its endpoint. */
  static async open(store: Store, remote: string): Promise<Known> {
    const path = join(store.root, KNOWN_FOLDER, `${sha256(remote).slice(0, 16)}.txt`);
    const text = await readFile(path, "utf8").catch(() => "");
    const [first = "", ...lines] = text.split("\n");
    const header = parse(first);
    if (header?.remote !== remote) return new Known(path, remote, store.root, "", {});
    const { generation, once, compares } = header;
    const abilities = once === undefined || compares === undefined ? {} : { once, compares };
    const known = new Known(path, remote, store.root, generation, abilities);
    for (const line of lines) {
      if (/^[ok] [0-9a-f]{64}$/.test(line)) known.names.add(line);
      if (/^- [ok] [0-9a-f]{64}$/.test(line)) known.names.delete(line.slice(2));
    }
    return known;
  }

  /** What the server can do, if that was tried before. */
  get tried(): Abilities | undefined {
    const { once, compares } = this.abilities;
    return once === undefined || compares === undefined ? undefined : { once, compares };
  }

  hasObject(sha256: Digest): boolean {
    return this.names.has(`o ${sha256}`);
  }

  hasKey(key: Digest): boolean {
    return this.names.has(`k ${key}`);
  }

  addObject(sha256: Digest): void {
    this.add(`o ${sha256}`);
  }

  addKey(key: Digest): void {
    this.add(`k ${key}`);
  }

  /** It is not there, or not what it should be. */
  dropObject(sha256: Digest): void {
    if (this.names.delete(`o ${sha256}`)) this.fresh.push(`- o ${sha256}`);
  }

  dropKey(key: Digest): void {
    if (this.names.delete(`k ${key}`)) this.fresh.push(`- k ${key}`);
  }

  /** Takes what lists say for all that is there. */
  async replace(objects: Iterable<Digest>, keys: Iterable<Digest>): Promise<void> {
    this.names.clear();
    for (const sha256 of objects) this.names.add(`o ${sha256}`);
    for (const key of keys) this.names.add(`k ${key}`);
    await this.rewrite();
  }

  /** Drops everything if something was collected since. */
  async follow(generation: string): Promise<void> {
    if (generation === this.generation) return;
    this.names.clear();
    this.generation = generation;
    await this.rewrite();
  }

  async learn(abilities: Abilities): Promise<void> {
    this.abilities = abilities;
    await this.rewrite();
  }

  /** Writes down what is new. */
  async save(): Promise<void> {
    if (this.fresh.length === 0) return;
    const lines = this.fresh.map((line) => `${line}\n`).join("");
    this.fresh = [];
    if (parse((await readFile(this.path, "utf8").catch(() => "")).split("\n", 1)[0] ?? "") === undefined)
      return await this.rewrite();
    await appendFile(this.path, lines);
  }

  /** Forgets everything, what the server can do included. */
  async forget(): Promise<void> {
    this.names.clear();
    this.abilities = {};
    this.fresh = [];
    await rm(this.path, { force: true });
  }

  private add(name: string): void {
    if (this.names.has(name)) return;
    this.names.add(name);
    this.fresh.push(name);
  }

  private async rewrite(): Promise<void> {
    await makeFolder(this.root, KNOWN_FOLDER);
    this.fresh = [];
    const header = { format: 1, remote: this.remote, generation: this.generation, ...this.abilities };
    await writeText(this.path, [JSON.stringify(header), ...this.names, ""].join("\n"));
  }
}

function parse(line: string): z.infer<typeof Header> | undefined {
  try {
    return Header.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
