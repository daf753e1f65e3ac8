import { writeHashed } from "../file/atomic-file.js";
import type { DType } from "../tensor/dtype.js";
import { bytesOfInput, checkInput, type TensorInput } from "../tensor/input.js";
import { DTYPE_NAMES } from "./header.js";

const NAME_OF = Object.fromEntries(Object.entries(DTYPE_NAMES).map(([name, dtype]) => [dtype, name]));

/**
 * Writes a `.safetensors` file, tensor by tensor: what functions make is in memory one at a time. Tensors are ordered
 * as the format's own writer does, by dtype (large elements first) and then by name, so that the bytes depend on
 * nothing but content. The file appears under its name when it is complete.
 *
 * @param tensors By name. Borrowed.
 * @param metadata Strings to store beside them.
 * @returns What was written: its SHA-256 and size.
 * @throws {RangeError} If data does not fit its shape. {TypeError} If it does not fit its dtype, or a name is taken.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, TensorInput>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<{ sha256: string; bytes: number }> {
  const inputs = Object.entries(tensors).map(([name, input]) => checkInput(name, input));
  if (Object.hasOwn(tensors, "__metadata__"))
    throw new TypeError('Cannot write tensor "__metadata__": the name is taken');
  const rank = new Map<DType, number>(Object.values(DTYPE_NAMES).map((dtype, i) => [dtype, i]));
  inputs.sort((a, b) => (rank.get(a.dtype) ?? 0) - (rank.get(b.dtype) ?? 0) || (a.name < b.name ? -1 : 1));

  const fields: string[] = [];
  const field = (name: string, value: unknown): number =>
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  const strings = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  if (strings.length)
    fields.push(`"__metadata__":{${strings.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(",")}}`);
  let end = 0;
  for (const { name, dtype, shape, sizeBytes } of inputs) {
    field(name, { dtype: NAME_OF[dtype], shape, data_offsets: [end, end + sizeBytes] });
    end += sizeBytes;
  }
  const json = Buffer.from(`{${fields.join(",")}}`);
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, " ");
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);

  return await writeHashed(path, header.length + end, async (append) => {
    await append(header);
    for (const input of inputs) for await (const bytes of bytesOfInput(input)) await append(bytes);
  });
}
