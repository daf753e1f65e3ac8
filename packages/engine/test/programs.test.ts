/** Whole programs: training steps of small networks agree with tfjs' own arithmetic. */
import { compile, type TensorField } from "@madformer/engine";
import { signatureOf, stepOf, transformer, uNet, type BenchModel } from "../bench/models.js";
import { expectClose } from "./tolerance.js";

const STEPS = 10;

/** |a - e| <= 1e-5 for parameters of size 1 and below, after ten steps that move them by up to 3e-3. */
const AFTER_TRAINING = { absolute: 1e-5, relative: 1e-5 };

/** Reproducible values in [-scale, scale). */
function values(size: number, seed: number, scale: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state / 2 ** 31) * scale;
  });
}

const sizeOf = (field: TensorField): number => field.shape.reduce((a, b) => a * b, 1);

async function trained(model: BenchModel, engine: "onnx" | "cpu") {
  const program = await compile(stepOf(model), signatureOf(model), { engine, name: model.name });
  for (const [i, field] of program.state.fields.entries()) {
    if (!field.name.startsWith("params/")) continue;
    const weight = values(sizeOf(field), i + 1, 0.2);
    await program.state.write(
      field.name,
      field.name.includes("norm") && !field.name.endsWith("bias") ? weight.map((w) => w + 1) : weight,
    );
  }
  const log: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const inputs = Object.fromEntries(
      program.inputs.map((field, i) => [field.name, values(sizeOf(field), 1000 * step + i, 1)]),
    );
    const { loss, norm } = await program.run(inputs);
    log.push(loss[0] ?? NaN, norm[0] ?? NaN);
  }
  return { program, log };
}

async function compare(model: BenchModel, isNoise: (name: string) => boolean = () => false): Promise<void> {
  const [compiled, eager] = [await trained(model, "onnx"), await trained(model, "cpu")];
  expectClose(compiled.log, eager.log, AFTER_TRAINING, "loss and gradient norm");
  expect(compiled.log[0]).not.toBe(compiled.log[2 * STEPS - 2]);
  for (const { name } of compiled.program.state.fields) {
    if (isNoise(name)) continue;
    expectClose(await compiled.program.state.read(name), await eager.program.state.read(name), AFTER_TRAINING, name);
  }
  await compiled.program.dispose();
  await eager.program.dispose();
}

describe("ten AdamW steps agree with tfjs' cpu backend", () => {
  test("for a two-tower transformer with attention by blocks", async () => {
    await compare(transformer({ width: 16, depth: 2, heads: 2, mlp: 32, blocks: 3, blockTokens: 4, batch: 2 }));
  }, 120_000);

  test("for a convolutional U-Net with group normalization and attention", async () => {
    const model = uNet({ channels: [4, 8], side: 8, latentChannels: 2, heads: 2, groups: 2, batch: 2 });
    // A softmax does not see a constant added to its row: these gradients are zero but for rounding, and AdamW makes
    // steps of full size out of rounding.
    await compare(model, (name) => name.endsWith("attention.k.bias"));
  }, 120_000);
});
