import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { copyFile, link, mkdir, open, readFile, rename, rm, stat, truncate, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  canonicalJson,
  DataError,
  digestFile,
  FilePath,
  sha256,
  writeAtomically,
  writeText,
  type Digest,
  type ObjectRef,
} from "@madformer/artifacts";
import { z } from "zod";

/**
 * Where a stage's files are listed as they are finished. A log: it is kept beside the artifact, and found again with
 * it.
 */
export const FINISHED_FILE = "logs/finished.jsonl";

const Entry = z.strictObject({
  file: FilePath,
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  bytes: z.int().nonnegative().optional(),
  note: z.json().optional(),
  /** Whole, and about to take the place of a finished file: whoever is killed meanwhile has one or the other. */
  coming: z.literal(true).optional(),
});
type Entry = z.infer<typeof Entry>;

/** A value of JSON, as notes are. */
export type Note = z.core.util.JSONType;

/**
 * The files that a stage finishes, each with its digest from the moment it is whole, and a note about it if the stage
 * wants one when it goes on. What an earlier attempt finished counts if its bytes are still those: a file that was
 * damaged since is removed, and one that the stage never finished is none of its files.
 *
 * The artifact consists of the files that this run finished, or asked for and found.
 */
export class StageFiles implements AsyncDisposable {
  /** What this run has finished, or asked for and found. */
  private readonly used = new Set<string>();

  private constructor(
    private readonly out: string,
    private readonly journal: FileHandle,
    private readonly entries: Map<string, Entry>,
    private readonly guard: () => Promise<void>,
    /** Files of an earlier attempt that are damaged or gone. */
    readonly lost: readonly string[],
  ) {}

  /**
   * Looks at what an earlier attempt left. Every file that it finished is hashed. One that has only grown since, as a
   * file does that lines are appended to, is cut back to what was finished.
   *
   * @param out Where the stage writes; exists.
   * @param guard Throws if what the stage reads is not what it was: asked before a file counts as finished.
   */
  static async open(out: string, guard: () => Promise<void> = async () => undefined): Promise<StageFiles> {
    const path = join(out, FINISHED_FILE);
    const [{ entries, coming }, lost] = [await readEntries(path), [] as string[]];
    for (const [file, entry] of coming) if (await holds(join(out, file), entry)) entries.set(file, entry);
    for (const [file, { sha256, bytes }] of entries) {
      if (sha256 === undefined || bytes === undefined) continue;
      if (await restoreTo(join(out, file), { sha256, bytes })) continue;
      entries.delete(file);
      lost.push(file);
    }
    await mkdir(dirname(path), { recursive: true });
    await writeText(path, [...entries.values()].map(lineOf).join(""));
    return new StageFiles(out, await open(path, "a"), entries, guard, lost);
  }

  /** Whether a file is there, finished and whole. */
  has(file: string): boolean {
    const there = this.entries.get(file)?.sha256 !== undefined;
    if (there) this.used.add(file);
    return there;
  }

  /** The note about a file that is there, or that was made without one (see `remember`). */
  note(file: string): Note | undefined {
    const entry = this.entries.get(file);
    if (entry !== undefined) this.used.add(file);
    return entry?.note;
  }

  /**
   * A path to read a finished file from: hashed again, because what is made from it would outlive its damage.
   *
   * @throws {DataError} If it is not there, or not what was finished.
   */
  async path(file: string): Promise<string> {
    const entry = this.entries.get(file);
    const path = join(this.out, file);
    if (entry?.sha256 === undefined) throw new DataError(`Cannot read ${JSON.stringify(path)}: it is not finished`);
    const found = (await isFile(path)) ? await digestFile(path) : undefined;
    if (found?.sha256 !== entry.sha256) throw await this.damaged(file);
    this.used.add(file);
    return path;
  }

  /**
   * A file has been written under its own name, and is whole. It may be given again after lines were appended to it.
   */
  async keep(file: string, note?: Note): Promise<void> {
    await this.append({ file, ...(await digestFile(join(this.out, file))), ...(note === undefined ? {} : { note }) });
  }

  /**
   * A file is whole, and gets its name. Whatever had that name before is there until then, also for who is killed
   * meanwhile.
   *
   * @param written What was written to it, if the writer knows; else it is hashed.
   */
  async add(temporary: string, file: string, note?: Note, written?: ObjectRef): Promise<void> {
    const { sha256, bytes } = written ?? (await digestFile(temporary));
    const entry = { file, sha256, bytes, ...(note === undefined ? {} : { note }) };
    const path = join(this.out, file);
    await mkdir(dirname(path), { recursive: true });
    await this.announce(entry);
    await rename(temporary, path);
    await this.append(entry);
  }

  /**
   * Gives a finished file a second name: one file, where the file system has hard links, else a copy.
   *
   * @param temporary Where it may be prepared.
   */
  async addSecondName(of: string, temporary: string, file: string, note?: Note): Promise<void> {
    const { sha256, bytes } = this.entries.get(of) ?? {};
    if (sha256 === undefined || bytes === undefined)
      throw new DataError(`Cannot name ${JSON.stringify(file)} after ${JSON.stringify(of)}: it is not finished`);
    const path = join(this.out, of);
    await rm(temporary, { force: true });
    await link(path, temporary).catch(() => copyFile(path, temporary, constants.COPYFILE_FICLONE));
    await this.add(temporary, file, note, { sha256, bytes });
  }

  /** Writes a small file, whole or not at all. */
  async write(file: string, content: string | Uint8Array, note?: Note): Promise<void> {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    const path = join(this.out, file);
    await mkdir(dirname(path), { recursive: true });
    const entry = { file, sha256: sha256(bytes), bytes: bytes.length, ...(note === undefined ? {} : { note }) };
    await this.announce(entry);
    await writeAtomically(path, (writer) => writer.append(bytes));
    await this.append(entry);
  }

  /** Keeps a note under the name of a file that there is no need for. */
  async remember(file: string, note: Note): Promise<void> {
    await this.append({ file, note });
  }

  /** A file is no longer one of the stage's: call it before it is removed. */
  async drop(file: string): Promise<void> {
    if (!this.entries.delete(file)) return;
    this.used.delete(file);
    await this.journal.appendFile(lineOf({ file }));
  }

  /** Forgets all files: what they were made from is not what it should have been. */
  async dropAll(): Promise<void> {
    for (const file of [...this.entries.keys()]) await this.drop(file);
  }

  /**
   * The files that make the artifact.
   *
   * @param take Takes one and gives what its digest and size are: hashes it.
   * @throws {DataError} If one is gone, or not what was finished: it is forgotten, and the next run makes it again.
   */
  async collect(take: (path: string) => Promise<ObjectRef>): Promise<Record<string, ObjectRef>> {
    const files: Record<string, ObjectRef> = {};
    const taken = new Map<string, ObjectRef>(); // by inode: a file under two names is hashed once
    for (const [file, { sha256: expected }] of this.entries) {
      if (expected === undefined || !this.used.has(file) || file.startsWith("tmp/")) continue;
      const path = join(this.out, file);
      const status = await stat(path, { bigint: true }).catch(() => undefined);
      if (status?.isFile() !== true) throw await this.damaged(file);
      const inode = `${status.dev}:${status.ino}`;
      const ref = taken.get(inode) ?? (await take(path));
      taken.set(inode, ref);
      if (ref.sha256 !== expected) throw await this.damaged(file);
      files[file] = ref;
    }
    return files;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.journal.close();
  }

  private async announce(entry: Entry): Promise<void> {
    if (!this.entries.has(entry.file)) return;
    await this.guard();
    await this.journal.appendFile(lineOf({ ...entry, coming: true }));
  }

  private async append(entry: Entry): Promise<void> {
    FilePath.parse(entry.file);
    await this.guard();
    this.entries.delete(entry.file); // the order is that of finishing
    this.entries.set(entry.file, entry);
    this.used.add(entry.file);
    await this.journal.appendFile(lineOf(entry));
  }

  private async damaged(file: string): Promise<DataError> {
    const path = join(this.out, file);
    const what = (await isFile(path)) ? "was changed" : "was removed";
    await this.drop(file);
    await rm(path, { recursive: true, force: true });
    return new DataError(
      `${JSON.stringify(path)} ${what} after it was finished, by something else than the stage; the same command again makes it anew`,
    );
  }
}

/** What is noted as finished in a folder, or about to be: files, or notes in their place. */
export async function finishedFiles(out: string): Promise<string[]> {
  const { entries, coming } = await readEntries(join(out, FINISHED_FILE));
  return [...new Set([...entries.keys(), ...coming.keys()])];
}

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() ?? false;

/** Each line says what it says twice: in words, and as a digest that finds a damaged one. */
function lineOf(entry: Entry): string {
  return `${JSON.stringify({ ...entry, check: checkOf(entry) })}\n`;
}

const checkOf = (entry: Entry): Digest => sha256(canonicalJson(entry)).slice(0, 16);

/** The last line about each file, and what was to come after it; lines that were cut off or damaged say nothing. */
async function readEntries(path: string): Promise<{ entries: Map<string, Entry>; coming: Map<string, Entry> }> {
  const [entries, coming] = [new Map<string, Entry>(), new Map<string, Entry>()];
  const text = await readFile(path, "utf8").catch(() => "");
  for (const line of text.split("\n")) {
    const { coming: announced, ...entry } = entryOf(line) ?? { file: "" };
    if (entry.file === "") continue;
    coming.delete(entry.file);
    if (announced) {
      coming.set(entry.file, entry);
      continue;
    }
    entries.delete(entry.file);
    if (entry.sha256 !== undefined || entry.note !== undefined) entries.set(entry.file, entry);
  }
  return { entries, coming };
}

function entryOf(line: string): Entry | undefined {
  try {
    const { check, ...rest } = JSON.parse(line) as Record<string, unknown>;
    const entry = Entry.parse(rest);
    return check === checkOf(entry) ? entry : undefined;
  } catch {
    return undefined;
  }
}

async function holds(path: string, { sha256, bytes }: Entry): Promise<boolean> {
  const status = await stat(path).catch(() => undefined);
  return status?.isFile() === true && status.size === bytes && (await digestFile(path)).sha256 === sha256;
}

/**
 * Whether a file holds what was finished, perhaps after what was appended since was cut off. One that does not is
 * removed.
 */
async function restoreTo(path: string, { sha256, bytes }: ObjectRef): Promise<boolean> {
  const status = await stat(path).catch(() => undefined);
  if (status === undefined) return false;
  if (status.isFile() && status.size >= bytes && (await digestOfFirst(path, bytes)) === sha256) {
    if (status.size > bytes) await truncate(path, bytes);
    return true;
  }
  await rm(path, { recursive: true, force: true });
  return false;
}

async function digestOfFirst(path: string, bytes: number): Promise<Digest> {
  const hash = createHash("sha256");
  if (bytes > 0)
    for await (const chunk of createReadStream(path, { end: bytes - 1, highWaterMark: 1 << 20 }))
      hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}
