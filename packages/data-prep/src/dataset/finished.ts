import type { StageFiles } from "@madformer/stage";
import { z } from "zod";

const TarNote = z.strictObject({
  id: z.string().describe("What it was made from: another id, and it is made again"),
  images: z.int().nonnegative(),
  skipped: z.array(z.strictObject({ path: z.string(), reason: z.string() })),
});

/** What is known of a finished tar: the note about it. */
export type FinishedTar = z.infer<typeof TarNote>;

/** What an earlier attempt noted about a tar, if it finished it, from the same. */
export function finishedTar(files: StageFiles, tar: string, id: string): FinishedTar | undefined {
  const note = TarNote.safeParse(files.has(tar) ? files.note(tar) : undefined);
  return note.success && note.data.id === id ? note.data : undefined;
}
