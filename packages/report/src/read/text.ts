import { readFile } from "node:fs/promises";
import { type Artifact, DataError } from "@madformer/artifacts";

/**
 * The bytes of a file of an artifact, unless it is larger than a page could use: what stands in a manifest may be
 * anything.
 *
 * @throws {DataError} If it has more than `maxBytes` bytes.
 */
export async function readBytes(artifact: Artifact, file: string, maxBytes: number): Promise<Buffer> {
  const bytes = artifact.manifest.files[file]?.bytes ?? 0;
  if (bytes > maxBytes)
    throw new DataError(
      `Cannot show ${describeFile(artifact, file)}: it has ${bytes} bytes, at most ${maxBytes} were expected`,
    );
  return readFile(await artifact.path(file));
}

/** `"losses.jsonl" of train`, for messages. */
export function describeFile(artifact: Artifact, file: string): string {
  return `${JSON.stringify(file)} of ${artifact.manifest.stage}`;
}
