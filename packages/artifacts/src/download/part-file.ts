import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readFile, rename, rm, type FileHandle } from "node:fs/promises";
import { z } from "zod";
import { reasonOf } from "../file/byte-source.js";
import { writeText } from "../store/files.js";

/** Which version of a resource the bytes are from, as its server names it. */
export interface Version {
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  /** Its bytes, where the server said so. */
  readonly total: number | undefined;
}

const State = z.object({
  url: z.string(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  total: z.int().nonnegative().optional(),
});

/**
 * What has come of a download: `<path>.part`, and beside it, in `<path>.part.json`, of which version it is. It outlives
 * the process.
 */
export class PartFile implements AsyncDisposable {
  private hash: Hash = createHash("sha256");
  /** Bytes that have come. */
  size = 0;
  version: Version | undefined;
  /** Whether some of the bytes came in an earlier attempt. */
  resumed = false;

  private constructor(
    /** Of the file that it becomes. */
    readonly path: string,
    private readonly url: string,
    private readonly file: FileHandle,
  ) {}

  /**
   * Opens what an earlier attempt left.
   *
   * @param resume Whether to go on even if the server gave no name to its version; else such bytes are dropped.
   */
  static async open(path: string, url: string, resume: boolean): Promise<PartFile> {
    const partPath = `${path}.part`;
    let file: FileHandle;
    try {
      file = await open(partPath, "a+");
    } catch (cause) {
      throw new Error(`Cannot write ${JSON.stringify(partPath)}: ${reasonOf(cause)}`, { cause });
    }
    const part = new PartFile(path, url, file);
    try {
      const state = await readState(`${partPath}.json`);
      const known = state?.url === url && (resume || state.etag !== undefined || state.lastModified !== undefined);
      if (!known) await part.restart();
      else {
        part.version = { etag: state.etag, lastModified: state.lastModified, total: state.total };
        await part.readBack();
      }
      return part;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The bytes to come are of this version. */
  async begin(version: Version): Promise<void> {
    if (this.version && this.size > 0) return;
    this.version = version;
    await writeText(`${this.path}.part.json`, `${JSON.stringify({ url: this.url, ...version })}\n`);
  }

  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) done += (await this.file.write(bytes, done)).bytesWritten;
    } catch (cause) {
      throw new Error(`Cannot write ${JSON.stringify(`${this.path}.part`)}: ${reasonOf(cause)}`, { cause });
    }
    this.hash.update(bytes);
    this.size += bytes.length;
  }

  /** Drops everything that has come. */
  async restart(): Promise<void> {
    await this.file.truncate(0);
    await rm(`${this.path}.part.json`, { force: true });
    this.hash = createHash("sha256");
    this.size = 0;
    this.version = undefined;
    this.resumed = false;
  }

  /** SHA-256 of what has come. */
  digest(): string {
    return this.hash.copy().digest("hex");
  }

  /** Gives the file its name. */
  async finish(): Promise<void> {
    await this.file.sync();
    await rename(`${this.path}.part`, this.path);
    await rm(`${this.path}.part.json`, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
  }

  private async readBack(): Promise<void> {
    for await (const chunk of createReadStream(`${this.path}.part`, { highWaterMark: 1 << 20 })) {
      this.hash.update(chunk as Uint8Array);
      this.size += (chunk as Uint8Array).length;
    }
    this.resumed = this.size > 0;
  }
}

/** What is there, if it can be read: a damaged note is no note. */
async function readState(path: string): Promise<z.infer<typeof State> | undefined> {
  try {
    return State.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined;
  }
}
