import { createReadStream } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";

/** A file of one JSON object per line, each with a `step` that rises. */
export class Journal implements AsyncDisposable {
  private constructor(private readonly handle: FileHandle) {}

  /**
   * Opens a journal to go on after a step: what is there of later steps is cut off, and so is a line that was not
   * finished.
   *
   * @param after Steps up to this one stay.
   */
  static async open(path: string, after: number): Promise<Journal> {
    const lines = await readLines(path);
    const kept = lines.findIndex(({ step }) => !(step <= after)); // NaN, of a line that is no JSON, is cut off too
    const last = lines.at(kept === -1 ? lines.length - 1 : kept - 1);
    const end = kept === 0 || last === undefined ? 0 : last.end;
    const handle = await open(path, "a");
    await handle.truncate(end);
    return new Journal(handle);
  }

  async append(line: Readonly<Record<string, unknown>>): Promise<void> {
    await this.handle.appendFile(`${JSON.stringify(line)}\n`);
  }

  /** Waits until what was appended is on the disk. */
  async sync(): Promise<void> {
    await this.handle.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }
}

/** The steps of a journal's whole lines, in their order; none where there is no file. A line that is no JSON is NaN. */
export async function journalSteps(path: string): Promise<number[]> {
  return (await readLines(path)).map(({ step }) => step);
}

interface Line {
  readonly step: number;
  /** Bytes of the file up to here. */
  readonly end: number;
}

async function readLines(path: string): Promise<Line[]> {
  const lines: Line[] = [];
  let [rest, end] = [Buffer.alloc(0), 0];
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      let bytes = Buffer.concat([rest, chunk]);
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10)) {
        end += at + 1;
        lines.push({ step: stepOf(bytes.toString("utf8", 0, at)), end });
        bytes = bytes.subarray(at + 1);
      }
      rest = bytes;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  return lines;
}

function stepOf(line: string): number {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    return typeof step === "number" ? step : NaN;
  } catch {
    return NaN;
  }
}
