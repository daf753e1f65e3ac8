import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { exists, writeText } from "@madformer/artifacts";
import { z } from "zod";

const Note = z.strictObject({
  id: z.string(),
  images: z.int().nonnegative(),
  skipped: z.array(z.strictObject({ path: z.string(), reason: z.string() })),
});

/** What is known of a finished tar; kept in `tmp/` until the stage ends. */
export interface FinishedTar {
  /** What it was made from: another id, and it is made again. */
  readonly id: string;
  readonly images: number;
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

/** Where a tar is made before it is finished. */
export const unfinishedPath = (out: string, name: string): string => join(out, "tmp", name);

const notePath = (out: string, name: string): string => join(out, "tmp", `${name}.json`);

/** What an earlier attempt left of a tar, if it finished it from the same. */
export async function finishedTar(out: string, name: string, id: string): Promise<FinishedTar | undefined> {
  if (!(await exists(join(out, name))) || !(await exists(notePath(out, name)))) return undefined;
  const note = Note.safeParse(JSON.parse(await readFile(notePath(out, name), "utf8")));
  return note.success && note.data.id === id ? note.data : undefined;
}

/** Gives a tar its name, and notes what it is. */
export async function finishTar(out: string, name: string, finished: FinishedTar): Promise<void> {
  await rename(unfinishedPath(out, name), join(out, name));
  await writeText(notePath(out, name), JSON.stringify(finished));
}
