/**
 * What is looked at on a machine with a GPU that needs no model: `tools/gpu/check.sh` runs each step in a
 * process of its own.
 */
import { attention, compile, spec, type Program } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { Executable, type ResultType } from "../../src/backends/xla/executable.js";
import { xlaRuntime } from "../../src/backends/xla/runtime.js";
import { bytesOf, calls, distance, executableOf, peakGib, secondsOf, values, type Size, type Tell } from "./tell.js";

/** How far a program in bf16 may be from another way to compute the same: operands are rounded by 2^-9 at most. */
const BF16_DISTANCE = 0.01;
const engine = "xla";

/** Loads the plugin and prints what it is. */
export async function versions(_size: Size, tell: Tell): Promise<void> {
  const { client, source } = xlaRuntime();
  const { plugin } = client;
  tell({ what: "card", value: client.deviceKind });
  tell({ what: "Node", value: `${process.version} ${process.platform}-${process.arch}` });
  tell({ what: "plugin", value: `PJRT ${plugin.version.major}.${plugin.version.minor}, from ${source}` });
  for (const [name, value] of plugin.attributes) tell({ what: name, value });
  tell({ what: "platform", value: `${client.platform}: ${client.platformVersion.replace(/\s+/g, " ").trim()}` });
  tell({ what: "memory", value: client.memory().limit / 2 ** 30, unit: "GiB" });
}

/** Products of square matrices in bf16, one after another. */
export async function product(size: Size, tell: Tell): Promise<void> {
  const [n, chain] = size === "full" ? [8192, 16] : [128, 4];
  const b = values(n * n, Math.sqrt(3 / n)); // keeps the size of what it is multiplied with
  const fn = ({ a, b }: { a: tf.Tensor2D; b: tf.Tensor2D }) => {
    let y: tf.Tensor2D = a;
    for (let i = 0; i < chain; i++) y = tf.matMul(y, b);
    return { outputs: { square: tf.mean(tf.square(y)) } };
  };
  const state = { a: spec([n, n]), b: spec([n, n]) };
  const initialState = { a: values(n * n, 1, 2), b };
  for (const precision of size === "full" ? (["bf16", "tf32"] as const) : (["bf16"] as const)) {
    await using program = await compile(fn, { state }, { name: "product", engine, precision, initialState });
    const seconds = await secondsOf(() => program.run({}), 4);
    const rate = (chain * 2 * n ** 3) / seconds;
    tell({ what: `xla product ${precision}, ${n} x ${n}`, value: rate / 1e12, unit: "TFLOP/s" });
  }
}

type Attended = { q: tf.Tensor3D; k: tf.Tensor3D; v: tf.Tensor3D; dy: tf.Tensor3D };
type Attend = (q: tf.Tensor3D, k: tf.Tensor3D, v: tf.Tensor3D) => tf.Tensor3D;

/** Attention forward, and forward with all gradients: the engine's operation, and products with a softmax. */
export async function attentions(size: Size, tell: Tell): Promise<void> {
  const [B, T, D] = size === "full" ? ([18, 4096, 64] as const) : ([2, 64, 16] as const);
  const shape = [B, T, D] as const;
  const scale = D ** -0.5;
  const ways: Readonly<Record<string, Attend>> = {
    attention: (q, k, v) => attention(q, k, v, scale),
    decomposed: (q, k, v) => tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), scale)), v),
  };
  const forward = (attend: Attend) => (s: Attended) => {
    const y = attend(s.q, s.k, s.v);
    return { outputs: { y, sum: tf.sum(y) } };
  };
  const both = (attend: Attend) => (s: Attended) => {
    const loss = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Scalar =>
      tf.sum(tf.mul(attend(q as tf.Tensor3D, k as tf.Tensor3D, v as tf.Tensor3D), s.dy));
    const [dq, dk, dv] = tf.grads(loss)([s.q, s.k, s.v]) as [tf.Tensor, tf.Tensor, tf.Tensor];
    const y = tf.concat([dq, dk, dv], 2);
    return { outputs: { y, sum: tf.sum(y) } };
  };
  const initialState = Object.fromEntries(["q", "k", "v", "dy"].map((name, i) => [name, values(B * T * D, 1, i + 1)]));
  const state = { q: spec(shape), k: spec(shape), v: spec(shape), dy: spec(shape) };
  for (const [pass, of, products] of [
    ["forward", forward, 2],
    ["forward and backward", both, 6],
  ] as const) {
    const results: ArrayLike<number>[] = [];
    for (const [name, attend] of Object.entries(ways)) {
      const options = { name, engine, precision: "bf16", initialState } as const;
      await using program = await compile(of(attend), { state }, options);
      const fused = calls(program, "__cudnn$fmha");
      if (name === "attention" && !fused)
        tell({
          what: `fmha ${pass}`,
          value: "not built yet: the operation is products and a softmax, by query blocks",
        });
      const seconds = await secondsOf(() => runKeeping(program), 8);
      const what = `xla ${fused ? "fmha" : name} ${pass}`;
      tell({ what, value: seconds * 1e3, unit: "ms" });
      tell({ what, value: (products * 2 * B * T * T * D) / seconds / 1e12, unit: "TFLOP/s" });
      const temporary = executableOf(program).memory()?.temporary;
      if (temporary !== undefined) tell({ what: `${what}, temporary`, value: temporary / 2 ** 30, unit: "GiB" });
      results.push((await program.run({})).y);
    }
    const [a = [], b = []] = results;
    const apart = distance(a, b);
    tell({ what: `attention ${pass}: apart from decomposed`, value: apart, ok: apart <= BF16_DISTANCE });
  }
}

/** A run whose large result stays on the device. */
async function runKeeping(program: Program<object, { y: tf.Tensor; sum: tf.Tensor }>): Promise<void> {
  const { y } = await program.run({}, { handles: ["y"] });
  y.dispose();
}

/** A 3x3 convolution of 512 channels, forward and with both gradients; bf16 beside float32. */
export async function convolution(size: Size, tell: Tell): Promise<void> {
  const [N, side, C] = size === "full" ? [16, 32, 512] : [2, 8, 16];
  const x = spec([N, side, side, C]);
  const w = spec([3, 3, C, C]);
  const scale = Math.sqrt(1 / (3 * C)); // results of the size of x
  const initialState = {
    x: values(N * side * side * C, 1, 1),
    w: values(9 * C * C, scale, 2),
    dy: values(N * side * side * C, 1, 3),
  };
  type State = { x: tf.Tensor4D; w: tf.Tensor4D; dy: tf.Tensor4D };
  const forward = ({ x, w }: State) => {
    const y = tf.conv2d(x, w, 1, "same");
    return { outputs: { y, sum: tf.sum(y) } };
  };
  const both = ({ x, w, dy }: State) => {
    const loss = (x: tf.Tensor, w: tf.Tensor): tf.Scalar =>
      tf.sum(tf.mul(tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, "same"), dy));
    const { value, grads } = tf.valueAndGrads(loss)([x, w]);
    const y = tf.concat(grads.map((g) => tf.reshape(g, [-1])));
    return { outputs: { y, sum: tf.add(tf.sum(y), value) } };
  };
  const flops = 2 * N * side * side * 9 * C * C;
  for (const [pass, fn, times] of [
    ["forward", forward, 1],
    ["and both gradients", both, 3],
  ] as const) {
    const results: ArrayLike<number>[] = [];
    for (const precision of ["bf16", "float32"] as const) {
      const options = { name: "convolution", engine, precision, initialState } as const;
      await using program = await compile(fn, { state: { x, w, dy: x } }, options);
      const seconds = await secondsOf(() => runKeeping(program), 8);
      const what = `xla convolution ${pass} ${precision}`;
      tell({ what, value: seconds * 1e3, unit: "ms" });
      tell({ what, value: (times * flops) / seconds / 1e12, unit: "TFLOP/s" });
      results.push((await program.run({})).y);
    }
    const [a = [], b = []] = results;
    const apart = distance(a, b);
    tell({ what: `convolution ${pass}: bf16 from float32`, value: apart, ok: apart > 0 && apart <= BF16_DISTANCE });
  }
}

/** State is written over itself: one copy on the device, however often it runs. */
export async function donation(size: Size, tell: Tell): Promise<void> {
  const count = size === "full" ? 2 ** 28 : 2 ** 18;
  const bytes = 4 * count;
  const { client } = xlaRuntime();
  await using program = await compile(
    ({ a }: { a: tf.Tensor1D }) => ({ state: { a: tf.add(a, 1) }, outputs: { first: tf.slice(a, 0, 1) } }),
    { state: { a: spec([count]) } },
    { name: "donation", engine },
  );
  const alias = executableOf(program).memory()?.alias;
  if (alias !== undefined) tell({ what: "state written over itself", value: alias, unit: "bytes", ok: alias >= bytes });
  await program.run({});
  const before = client.memory().used;
  let first = NaN;
  for (let i = 1; i < 20; i++) first = (await program.run({})).first[0] ?? NaN;
  const grown = client.memory().used - before;
  if (client.platform !== "cpu")
    tell({ what: "memory in use, 19 runs later", value: grown, unit: "bytes more", ok: grown < bytes / 2 });
  const peak = peakGib();
  if (peak !== undefined)
    tell({ what: "peak, in copies of the state", value: (peak * 2 ** 30) / bytes, ok: peak * 2 ** 30 < 1.5 * bytes });
  tell({ what: "state after 19 runs", value: first, ok: first === 19 });
}

/** What is compiled can be written down and loaded again, and gives the same bits. */
export async function reload(size: Size, tell: Tell): Promise<void> {
  const [n, layers] = size === "full" ? [2048, 12] : [64, 4];
  const fn = (_: object, { x, w }: { x: tf.Tensor2D; w: tf.Tensor2D }) => {
    let y: tf.Tensor2D = x;
    for (let i = 0; i < layers; i++) y = tf.add(y, tf.tanh(tf.matMul(y, w)));
    return { outputs: { y } };
  };
  const start = performance.now();
  const inputs = { x: spec([n, n]), w: spec([n, n]) };
  await using program = await compile(fn, { inputs }, { name: "reload", engine, precision: "bf16" });
  tell({ what: "compile", value: (performance.now() - start) / 1e3, unit: "s" });
  const given = { x: values(n * n, 1, 1), w: values(n * n, Math.sqrt(3 / n), 2) };
  const { y: expected } = await program.run(given);
  const executable = executableOf(program);
  const { client } = executable;
  const bytes = await client.exclusive(() => executable.serialize());
  tell({ what: "serialized", value: bytes.byteLength, unit: "bytes" });
  const again = performance.now();
  const result: ResultType = { dtype: "float32", shape: [n, n] };
  const loaded = await client.exclusive(() => Executable.load(client, bytes, 2, [result]));
  tell({ what: "load", value: (performance.now() - again) / 1e3, unit: "s" });
  const order = program.inputs.map(({ name }) => given[name as keyof typeof given]);
  const { results, ended } = await client.exclusive(() => {
    const buffers = order.map((data) => client.upload("float32", [n, n], data));
    return loaded.run(buffers, [0, 1]).finally(() => buffers.forEach((buffer) => buffer.release()));
  });
  await client.wait(ended);
  const [buffer] = results;
  const actual = buffer ? await client.download(buffer) : new Float32Array(0);
  buffer?.release();
  await client.exclusive(() => loaded[Symbol.dispose]());
  const isSame = Buffer.from(actual.buffer).equals(Buffer.from(expected.buffer));
  tell({ what: "the same bits", value: isSame ? "yes" : "no", ok: isSame });
  const total = bytesOf(executable.memory());
  if (total !== undefined) tell({ what: "memory known before the run", value: total, unit: "bytes" });
}
