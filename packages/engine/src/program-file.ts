import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ProgramFields } from "./backend.js";
import { loadOnnx, type SessionOptions } from "./backends/onnx/index.js";
import { ProgramFailedError } from "./errors.js";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "./graph-names.js";
import { sizeOf, type Graph } from "./ir/graph.js";
import type { OnnxTarget } from "./onnx/builder.js";
import { lowerToOnnx } from "./onnx/lower.js";
import { PROGRAM_KEY, programMetadata } from "./onnx/metadata.js";
import { decodeModel, dtypeOfElement, encodeModel, type OnnxModel, type OnnxValueInfo } from "./onnx/proto.js";
import { Program, type ProgramOptions } from "./program.js";
import type { TensorField } from "./signature.js";

/** A protobuf message cannot be larger; ONNX files of this size would need a second file for their weights. */
const MAX_FILE_BYTES = 2 ** 31 - 1;

/** A tensor of a file may have this many elements: what a typed array holds. */
const MAX_ELEMENTS = 2 ** 32;

/**
 * Saves a program as an `.onnx` file (opset 21): inputs `state/*` and `inputs/*`, outputs `next/*` and `outputs/*`.
 * Constants are in the file; the state, which changes, is not: save that as a checkpoint.
 *
 * @param target `standard` (default) writes standard operators alone, for any runtime; `onnxruntime` writes what this
 *   engine runs, ONNX Runtime's own operators among it. Both give the same numbers, except for rounding.
 * @throws {RangeError} If the file would pass 2 GiB.
 * @throws {TypeError} If the program has no graph, because it was loaded from a file.
 */
export async function saveProgram(
  program: Pick<Program, "name" | "graph">,
  path: string,
  target: OnnxTarget = "standard",
): Promise<void> {
  if (!program.graph) throw new TypeError(`Program "${program.name}" was loaded from a file and has no graph to save`);
  const { updated } = fieldsOfGraph(program.graph);
  const bytes = encodeModel(lowerToOnnx(program.graph, target, programMetadata(program.name, updated)));
  if (bytes.byteLength > MAX_FILE_BYTES)
    throw new RangeError(
      `Cannot save program "${program.name}": ${bytes.byteLength} bytes, an .onnx file holds ${MAX_FILE_BYTES}`,
    );
  // Whole or not at all: written beside its place, then moved there.
  const temporary = join(dirname(path), `.${process.pid}.${Date.now()}.onnx.tmp`);
  try {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Options of `loadProgram`. */
export interface LoadOptions extends ProgramOptions {
  readonly session?: SessionOptions;
}

/**
 * Loads a program that `saveProgram` wrote. Its state is zero.
 *
 * @throws {SyntaxError} If the file is no ONNX model, or none that a program was saved as.
 * @throws {ProgramFailedError} If ONNX Runtime cannot load it.
 */
export async function loadProgram(path: string, options: LoadOptions = {}): Promise<Program> {
  const model = namedDecode(path, await readFile(path));
  const name = programName(path, model);
  for (const { name, dataLocation } of model.graph.initializer)
    if (dataLocation)
      throw new SyntaxError(`Cannot load "${path}": tensor "${name}" lies in another file, which is not followed`);
  const fields = fieldsOfModel(path, model);
  try {
    return new Program(name, "onnx", await loadOnnx(model, fields, options.session ?? {}), undefined, options);
  } catch (cause) {
    throw new ProgramFailedError(name, `was loaded from "${path}"`, cause);
  }
}

function namedDecode(path: string, bytes: Uint8Array): OnnxModel {
  try {
    return decodeModel(bytes);
  } catch (cause) {
    throw new SyntaxError(`Cannot load "${path}": ${(cause as Error).message}`, { cause });
  }
}

function programName(path: string, model: OnnxModel): string {
  const entry = model.metadataProps.find(({ key }) => key === PROGRAM_KEY);
  try {
    const { name } = JSON.parse(entry?.value ?? "null") as { name: unknown };
    if (typeof name === "string") return name;
  } catch {
    // Said below.
  }
  throw new SyntaxError(
    `Cannot load "${path}": it is an ONNX model, but no program was saved as it ("${PROGRAM_KEY}" is missing)`,
  );
}

function fieldsOfGraph(graph: Graph): ProgramFields {
  return sorted(
    graph.inputs.map(({ op: { name, dtype, shape } }) => ({ name, dtype, shape })),
    graph.outputs.map(({ name, node: { dtype, shape } }) => ({ name, dtype, shape })),
  );
}

function fieldsOfModel(path: string, model: OnnxModel): ProgramFields {
  const field = ({ name, type }: OnnxValueInfo): TensorField => {
    const dtype = dtypeOfElement(type?.tensorType?.elemType ?? 0);
    if (dtype === undefined)
      throw new SyntaxError(
        `Cannot load "${path}": "${name}" has element type ${type?.tensorType?.elemType}, which programs do not have`,
      );
    const shape = (type.tensorType.shape?.dim ?? []).map(({ dimValue }) => dimValue);
    const fits = shape.every((size) => Number.isSafeInteger(size) && size >= 0) && sizeOf(shape) <= MAX_ELEMENTS;
    if (!fits)
      throw new SyntaxError(
        `Cannot load "${path}": "${name}" has shape (${shape.join(", ")}), expected static sizes and at most ${MAX_ELEMENTS} elements`,
      );
    return { name, dtype, shape };
  };
  const names = [...model.graph.input, ...model.graph.output].map(({ name }) => name);
  const odd = names.find((name) => ![STATE, INPUTS, NEXT_STATE, OUTPUTS].some((prefix) => name.startsWith(prefix)));
  if (odd !== undefined)
    throw new SyntaxError(`Cannot load "${path}": "${odd}" is no name of a program's input or output`);
  return sorted(model.graph.input.map(field), model.graph.output.map(field));
}

/** A graph's inputs and outputs by what they are, without their prefixes. */
function sorted(inputs: readonly TensorField[], outputs: readonly TensorField[]): ProgramFields {
  const under = (prefix: string, fields: readonly TensorField[]): TensorField[] =>
    fields
      .filter(({ name }) => name.startsWith(prefix))
      .map((field) => ({ ...field, name: field.name.slice(prefix.length) }));
  return {
    state: under(STATE, inputs),
    inputs: under(INPUTS, inputs),
    outputs: under(OUTPUTS, outputs),
    updated: new Set(under(NEXT_STATE, outputs).map(({ name }) => name)),
  };
}
