import { ByteSource } from "./file/byte-source.js";
import { foreignKind } from "./images/foreign.js";
import { NpyFile } from "./numpy/npy.js";
import { NpzFile } from "./numpy/npz.js";
import { SafetensorsFile } from "./safetensors/read.js";
import { torchStart } from "./torch/legacy.js";
import { TorchFile } from "./torch/read.js";
import { readZipDirectory } from "./zip/read.js";

/** A file of any of the formats. */
export type DataFile =
  | { readonly kind: "safetensors"; readonly file: SafetensorsFile }
  | { readonly kind: "torch"; readonly file: TorchFile }
  | { readonly kind: "npz"; readonly file: NpzFile }
  | { readonly kind: "npy"; readonly file: NpyFile };

/**
 * Opens a file of any format that is known here, by its content: its name says nothing.
 *
 * @returns Its `file` is yours to close.
 * @throws {FormatError} If it is none of them, or one that is damaged.
 */
export async function openDataFile(path: string): Promise<DataFile> {
  const source = await ByteSource.open(path);
  try {
    return await openArtifactFrom(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** @param source Owned from now on: closed with the file. */
export async function openArtifactFrom(source: ByteSource): Promise<DataFile> {
  const start = Buffer.from(await source.read(0, Math.min(source.size, 16))).toString("latin1");
  if (start.startsWith("PK")) {
    const names = (await readZipDirectory(source)).map(({ name }) => name);
    if (names.some((name) => /^[^/]+\/data\.pkl$/.test(name)))
      return { kind: "torch", file: await TorchFile.from(source) };
    if (names.every((name) => name.endsWith(".npy"))) return { kind: "npz", file: await NpzFile.from(source) };
    throw source.error("it is a zip archive, but neither PyTorch's nor numpy's");
  }
  if (start.startsWith("\x93NUMPY")) return { kind: "npy", file: await NpyFile.from(source) };
  if (await torchStart(source)) return { kind: "torch", file: await TorchFile.from(source) }; // before 1.6
  // A length, then JSON: if the file is cut short, its reader says so.
  if (start[8] === "{") return { kind: "safetensors", file: await SafetensorsFile.from(source) };
  const kinds = "safetensors, PyTorch (.pt), numpy (.npy, .npz)";
  if (source.size === 0) throw source.error(`it is empty, expected one of: ${kinds}`);
  const foreign = foreignKind(await source.read(0, Math.min(source.size, 64)));
  throw source.error(foreign === undefined ? `it is none of: ${kinds}` : `it is ${foreign}, expected one of: ${kinds}`);
}
