import * as tf from "@tensorflow/tfjs-core";
import { compile, Program, type EngineName, type Tensors, type Tree } from "@madformer/engine";
import type { DType, Graph, TensorData } from "../src/ir/graph.js";
import { formatType } from "../src/ir/infer.js";
import { interpret, type Precision } from "../src/ir/interpret.js";
import type { OnnxTarget } from "../src/onnx/builder.js";
import { lowerToOnnx } from "../src/onnx/lower.js";
import { loadOnnx } from "../src/backends/onnx/load.js";
import { INPUTS, OUTPUTS } from "../src/graph-names.js";
import { trace, type TensorFunction } from "../src/trace/trace.js";
import { fieldsOf, flatten, isSpec, isValue, PATH_SEPARATOR, unflatten, type TensorField } from "../src/signature.js";
import { mismatch, TOLERANCE, type Tolerance } from "./tolerance.js";
import { Draws, SEED, type Value } from "./values.js";

type Values = Readonly<Record<string, Value>>;
type Results = tf.Tensor | readonly tf.Tensor[];

/** A tfjs function with values to call it with. */
export interface Case {
  /** What sets it apart from the other cases, its shapes left out. */
  readonly name: string;
  readonly values: Values;
  readonly run: (tensors: Readonly<Record<string, tf.Tensor>>) => Results;
  readonly tolerance: Tolerance;
  readonly gradient: Tolerance;
  /** What it is differentiated by. */
  readonly by: readonly string[];
  /** Engines whose runtime computes something else, and what. */
  readonly unlike: Partial<Record<EngineName, string>>;
}

export interface CaseOptions<Name extends string = string> {
  /** For the function's results. Default: `elementwise`. */
  readonly tolerance?: Tolerance;
  /** For its gradients; `false` looks at none. Default: `reduction`. */
  readonly gradient?: Tolerance | false;
  /** What it is differentiated by. Default: all that is float32. */
  readonly by?: readonly Name[];
  /** Engines whose runtime computes something else, and what. */
  readonly unlike?: Partial<Record<EngineName, string>>;
}

/** A case whose tensors have the ranks of their values. */
export function caseOf<const V extends Values>(
  name: string,
  values: V,
  run: (tensors: { readonly [Name in keyof V]: Tensors<V[Name]> }) => Results,
  {
    tolerance = TOLERANCE.elementwise,
    gradient = TOLERANCE.reduction,
    by,
    unlike = {},
  }: CaseOptions<keyof V & string> = {},
): Case {
  const floats = Object.keys(values).filter((key) => values[key]?.dtype === "float32");
  return {
    name,
    values,
    run: run as Case["run"],
    tolerance,
    gradient: gradient || TOLERANCE.exact,
    by: gradient === false ? [] : (by ?? floats),
    unlike,
  };
}

/** Engines that all cases run on besides: those that npm does not bring are named in `MADFORMER_TEST_ENGINES`. */
const MORE_ENGINES = (process.env["MADFORMER_TEST_ENGINES"] ?? "").split(",").filter(Boolean) as EngineName[];

/** OpenVINO fuses what follows a product into it, which rounds once where others round twice. */
const loosened = ({ absolute, relative }: Tolerance): Tolerance =>
  absolute === 0 && relative === 0 ? { absolute, relative } : { absolute: Math.max(absolute, 2e-7), relative };

/** Elements of the gradients that the results of one case may need. */
const GRADIENT_SIZE = 1 << 14;
const GRADIENT = "dy";

const keyOf = (i: number): string => `case${i}`;

/**
 * All cases as one function, which makes many cases cheap. A case's results `y0, y1, ...` come with its gradients,
 *
 *     dx = d/dx sum over k of sum(yk · dyk)
 *
 * where the dyk are pieces of one random input, unknown to the compiler.
 */
function functionOf(cases: readonly Case[]): TensorFunction {
  const types = new Map<string, string>(); // of the results, as the first engine found them
  return (_state, inputs) => {
    const gradient = inputs[GRADIENT] as tf.Tensor1D;
    const outputs: Record<string, Tree<tf.Tensor>> = {};
    cases.forEach((one, i) => {
      try {
        const results = outputsOf(one, inputs[keyOf(i)] as Record<string, tf.Tensor>, gradient);
        for (const [name, { dtype, shape }] of Object.entries(results)) {
          const path = keyOf(i) + PATH_SEPARATOR + name;
          const type = formatType({ dtype: dtype as DType, shape });
          const first = types.get(path) ?? type;
          if (type !== first) throw new TypeError(`${name} is ${type}, and ${first} in another engine`);
          types.set(path, type);
        }
        outputs[keyOf(i)] = results;
      } catch (cause) {
        throw new Error(`${describeCase(one)}: ${String(cause)}`, { cause });
      }
    });
    return { outputs };
  };
}

function outputsOf(
  { run, by }: Case,
  tensors: Record<string, tf.Tensor>,
  gradient: tf.Tensor1D,
): Record<string, tf.Tensor> {
  const list = (results: Results): readonly tf.Tensor[] => (results instanceof tf.Tensor ? [results] : results);
  const results = list(run(tensors));
  const named = results.map((y, k): [string, tf.Tensor] => [`y${k}`, y]);
  if (by.length === 0) return Object.fromEntries(named);
  const loss = (...xs: tf.Tensor[]): tf.Scalar => {
    let start = 0;
    const parts = list(run({ ...tensors, ...Object.fromEntries(by.map((name, j) => [name, xs[j] as tf.Tensor])) }))
      .filter((y) => y.dtype === "float32")
      .map((y) => {
        const dy = tf.reshape(tf.slice(gradient, start, y.size), y.shape);
        start += y.size;
        return tf.sum(tf.mul(y, dy));
      });
    return tf.addN(parts) as tf.Scalar;
  };
  const gradients = tf.grads(loss)(by.map((name) => tensors[name] as tf.Tensor));
  return Object.fromEntries([...named, ...gradients.map((dx, j): [string, tf.Tensor] => [`d${by[j]}`, dx])]);
}

/** Elements of the results, by path: `case0/y0`. */
type Outputs = ReadonlyMap<string, ArrayLike<number>>;

/**
 * Runs all cases eagerly on tfjs' `cpu` backend, and
 * - compiled, as a user gets them;
 * - as they were traced, in standard ONNX operators: passes rewrite some operations away, exported files use others;
 * - in the interpreter, whose meaning of a graph is right by definition.
 *
 * Fails with the results that are not what tfjs computes.
 */
export async function expectAgreement(cases: readonly Case[]): Promise<void> {
  const fn = functionOf(cases);
  const inputs = inputsOf(cases);
  const graph = trace("cases", fn, [], fieldsOf(inputs, "inputs"));
  const engines: Readonly<Record<string, () => Promise<Outputs>>> = {
    compiled: () => runProgram("onnx", fn, inputs),
    "as traced, in standard ONNX": () => runLowered(graph, "standard", inputs),
    interpreted: () => runInterpreter(graph, inputs, "float32"),
    ...Object.fromEntries(MORE_ENGINES.map((engine) => [engine, () => runProgram(engine, fn, inputs)])),
  };
  const oracle = await runProgram("cpu", fn, inputs);
  const shapes = new Map(graph.outputs.map(({ name, node }) => [name.slice(OUTPUTS.length), node.shape]));

  const failures: string[] = [];
  for (const [engine, run] of Object.entries(engines)) {
    const results = await run();
    cases.forEach((one, i) => {
      for (const [path, expected] of oracle) {
        const [key, name = ""] = path.split(PATH_SEPARATOR);
        if (key !== keyOf(i)) continue;
        if (one.unlike[engine as EngineName] !== undefined) continue;
        const asked = name.startsWith("d") ? one.gradient : one.tolerance;
        const tolerance = engine === "openvino" ? loosened(asked) : asked;
        const found = mismatch(results.get(path) ?? [], expected, tolerance, shapes.get(path));
        if (found !== undefined) failures.push(`${describeCase(one)}, ${engine}: ${name}: ${found}`);
      }
    });
  }
  report(failures, "results are not tfjs'");
}

/**
 * How far the argument of a central difference goes to either side: its error is of order STEP², and of order 1e-16 /
 * STEP.
 */
const STEP = 1e-5;

/** For gradients in double precision, and what central differences leave of it. */
const DOUBLE: Tolerance = { absolute: 1e-7, relative: 1e-7 };

/**
 * Compares gradients with central differences of the function, both interpreted in double precision, and then the
 * compiled gradients with the same. Where tfjs is the oracle, its gradients are taken for right; here they are not.
 *
 * The functions must be smooth where they are evaluated: no ties, nothing within 1e-5 of an edge.
 */
export async function expectDerivatives(cases: readonly Case[]): Promise<void> {
  const fn = functionOf(cases);
  const inputs = inputsOf(cases);
  const graph = trace("cases", fn, [], fieldsOf(inputs, "inputs"));
  const engines = {
    compiled: await runProgram("onnx", fn, inputs),
    "interpreted in float64": await runInterpreter(graph, inputs, "float64"),
  };
  const failures: string[] = [];
  cases.forEach((one, i) => {
    for (const name of one.by) {
      const expected = centralDifferences(graph, inputs, keyOf(i), name);
      for (const [engine, results] of Object.entries(engines)) {
        const tolerance = engine === "compiled" ? one.gradient : DOUBLE;
        const found = mismatch(results.get(`${keyOf(i)}/d${name}`) ?? [], expected, tolerance, one.values[name]?.shape);
        if (found !== undefined) failures.push(`${describeCase(one)}, ${engine}: d${name}: ${found}`);
      }
    }
  });
  report(failures, "gradients are not central differences");
}

function centralDifferences(graph: Graph, inputs: Tree<Value>, key: string, name: string): Float64Array {
  const prefix = `${OUTPUTS}${key}/y`;
  const forward = { ...graph, outputs: graph.outputs.filter((output) => output.name.startsWith(prefix)) };
  const feeds = Object.fromEntries(dataByPath(inputs).map(([path, data]) => [INPUTS + path, Float64Array.from(data)]));
  const dy = feeds[INPUTS + GRADIENT]!;
  const loss = (): number => {
    const results = interpret(forward, feeds);
    let [sum, at] = [0, 0];
    for (const { name, node } of forward.outputs)
      if (node.dtype === "float32") for (const y of results[name]!) sum += y * dy[at++]!;
    return sum;
  };
  const x = feeds[`${INPUTS}${key}/${name}`]!;
  return x.map((value, i) => {
    const [above, below] = [value + STEP, value - STEP].map((moved) => {
      x[i] = moved;
      return loss();
    }) as [number, number];
    x[i] = value;
    return (above - below) / (2 * STEP);
  });
}

function inputsOf(cases: readonly Case[]): Tree<Value> {
  return {
    [GRADIENT]: new Draws("dy").normal([GRADIENT_SIZE]),
    ...Object.fromEntries(cases.map(({ values }, i) => [keyOf(i), values])),
  };
}

function report(failures: readonly string[], what: string): void {
  if (failures.length === 0) return;
  throw new Error(`${failures.length} ${what} (seed ${SEED})\n${failures.slice(0, 10).join("\n")}`);
}

function describeCase({ name, values }: Case): string {
  return `${name} of ${Object.entries(values)
    .map(([key, value]) => `${key} ${formatType(value)}`)
    .join(", ")}`;
}

const dataByPath = (inputs: Tree<Value>): [string, TensorData][] =>
  [...flatten(inputs, isSpec as (value: unknown) => value is Value, "inputs")].map(([path, { data }]) => [path, data]);

async function resultsOf(program: Program<Tree<Value>>, inputs: Tree<Value>): Promise<Outputs> {
  const results = await program.run(unflatten(dataByPath(inputs)));
  return flatten(results as Tree<TensorData>, isValue as (value: unknown) => value is TensorData, "outputs");
}

async function runProgram(engine: EngineName, fn: TensorFunction, inputs: Tree<Value>): Promise<Outputs> {
  await using program = await compile(fn, { inputs }, { name: "cases", engine, session: { threads: 1 } });
  return await resultsOf(program, inputs);
}

/** Runs a graph in ONNX Runtime, in its own operators or in standard ones, as it is: no pass has been over it. */
export async function runLowered(graph: Graph, target: OnnxTarget, inputs: Tree<Value>): Promise<Outputs> {
  const outputs = graph.outputs.map(({ name, node: { dtype, shape } }): TensorField => ({
    name: name.slice(OUTPUTS.length),
    dtype,
    shape,
  }));
  const fields = { state: [], inputs: fieldsOf(inputs, "inputs"), outputs, updated: new Set<string>() };
  const executor = await loadOnnx(lowerToOnnx(graph, target), fields, { threads: 1 });
  await using program = new Program<Tree<Value>>("cases", "onnx", executor, graph, {});
  return await resultsOf(program, inputs);
}

/** Runs a graph in the interpreter. */
export function runInterpreter(graph: Graph, inputs: Tree<Value>, precision: Precision): Promise<Outputs> {
  const feeds = Object.fromEntries(dataByPath(inputs).map(([path, data]) => [INPUTS + path, data]));
  const results = Object.entries(interpret(graph, feeds, { precision }));
  return Promise.resolve(new Map(results.map(([name, data]) => [name.slice(OUTPUTS.length), data])));
}
