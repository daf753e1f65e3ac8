import type { Digest, Manifest } from "./manifest.js";
import type { StageRecord } from "./record.js";

/** What a stage made, as a later stage reads it. Files are looked up by their name; their bytes were checked. */
export interface Artifact {
  /** SHA-256 of the manifest's text. */
  readonly digest: Digest;
  readonly manifest: Manifest;
  /** How it was made, where that is known. */
  readonly record: StageRecord | undefined;
  /** Names of all files, sorted. */
  readonly files: readonly string[];
  /**
   * A local path to read the file from. The path may lack the name's extension, and must not be written to.
   *
   * @throws {DataError} If the artifact has no such file, or its bytes are missing or not those of the manifest.
   */
  path(file: string): Promise<string>;
  /**
   * Those of the files handed out by `path` that something has written to, replaced or removed since they were checked.
   */
  changed(): Promise<readonly string[]>;
}
