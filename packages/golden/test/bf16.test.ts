import { engineStates } from "@madformer/engine";
import { forward, lossGradients, LossConfig, madformerSpecs } from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import { goldenTensors, META, type GoldenTensor } from "./golden.js";
import { configOf, runOnce, weightsOf } from "./model.js";

/**
 * How far PyTorch's bfloat16 autocast is from its float32 on the same model and batch, |a - b| / |b| in the 2-norm:
 * `python tools/gpu/peer.py error packages/golden/data` (torch 2.15.0 on an x86-64 CPU, 2026-11-29). Gradients are
 * those of all parameters side by side. XLA's own distances on that day: 1.84e-4, 5.19e-3, 4.51e-3 and 2.72e-2.
 */
const AUTOCAST = { loss: 5.99e-4, noisePred: 7.93e-3, condition: 6.63e-3, gradients: 3.88e-2 };
type Name = keyof typeof AUTOCAST;

/** Engines that round products to bfloat16 here; those that npm does not bring must be installed. */
const engines = engineStates().filter(
  ({ problem, precisions }) => problem === undefined && precisions.includes("bf16"),
);

/** XLA's plugin for CPUs compiles the gradients for minutes. */
const COMPILE_MS = 900_000;

const golden = goldenTensors("forward.safetensors");
const tensor = (name: string): GoldenTensor => golden[name] as GoldenTensor;
const inputs = { latents: tensor("clean_x"), noise: tensor("noise"), noised: tensor("noised_x"), t: tensor("t") };

function distance(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  const square = (of: (x: number, y: number) => number): number =>
    a.reduce((sum, data, k) => sum + data.reduce((s, x, i) => s + of(x, b[k]?.[i] ?? NaN) ** 2, 0), 0);
  return Math.sqrt(square((x, y) => x - y) / square((_, y) => y));
}

describe("bf16 is no further from float32 than PyTorch's autocast", () => {
  if (engines.length === 0) test.skip("(skipped: no engine is installed that has it)", () => undefined);
  const testOn = async (engine: (typeof engines)[number]["name"]): Promise<void> => {
    const config = configOf("default");
    const loss = LossConfig.parse({ lambdaHidden: META.forward.default.lambda_hidden_loss });
    const run = async (precision: "float32" | "bf16"): Promise<Record<Name, Float32Array[]>> => {
      const outputs = await runOnce(
        weightsOf(config),
        madformerSpecs(config),
        inputs,
        (p, { latents, noise, noised, t }) => {
          const { losses, gradients } = lossGradients(p, config, { latents, noise, t }, loss);
          const present = Object.entries(gradients).filter((entry): entry is [string, tf.Tensor] => entry[1] !== null);
          const images = forward(p, config, { cleanX: latents, noisedX: noised, t }, ["noisePred", "condition"]);
          const all = { loss: losses.loss, ...images } as unknown as Record<string, tf.Tensor>;
          return { ...all, ...Object.fromEntries(present.map(([key, gradient]) => [`gradient ${key}`, gradient])) };
        },
        engine,
        precision,
      );
      const gradients = Object.keys(outputs).filter((key) => key.startsWith("gradient ")).sort(); // prettier-ignore
      const list = (...keys: string[]): Float32Array[] => keys.map((key) => outputs[key] as Float32Array);
      return {
        loss: list("loss"),
        noisePred: list("noisePred"),
        condition: list("condition"),
        gradients: list(...gradients),
      };
    };
    const [exact, rounded] = [await run("float32"), await run("bf16")];
    const found = Object.keys(AUTOCAST).map((name) => [name, distance(rounded[name as Name], exact[name as Name])] as const); // prettier-ignore
    for (const [name, by] of found) expect([name, by, by <= AUTOCAST[name as Name]]).toEqual([name, by, true]);
    // XLA rounds everywhere; where OpenVINO's bfloat16 has no kernels, it is float32.
    if (engine === "xla") for (const [name, by] of found) expect([name, by > 1e-6]).toEqual([name, true]);
  };
  for (const { name } of engines) test(`on ${name}`, () => testOn(name), COMPILE_MS);
});
