/** The golden set on a machine with a GPU, for `tools/gpu/check.sh`. `MADFORMER_GOLDEN` says where the set is. */
import { forward, lossGradients, LossConfig, madformerSpecs, toStateDict } from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import { goldenTensors, META, toleranceOf, type GoldenTensor } from "../test/golden.js";
import { configOf, nhwc, runOnce, weightsOf } from "../test/model.js";

export type Tell = (finding: { readonly what: string; value: number | string; unit?: string; ok?: boolean }) => void;

/** How far PyTorch's bfloat16 autocast is from its float32: `tools/gpu/peer.py error`, see test/bf16.test.ts. */
const AUTOCAST = { loss: 5.99e-4, noisePred: 7.93e-3, condition: 6.63e-3, gradients: 3.88e-2 };

/** Forward pass and gradients: in float32 within the set's tolerances, in bf16 no further off than PyTorch's. */
export async function golden(tell: Tell): Promise<void> {
  const config = configOf("default");
  const specs = madformerSpecs(config);
  const meta = META.forward.default;
  const tensors = goldenTensors("forward.safetensors");
  const tensor = (name: string): GoldenTensor => tensors[name] as GoldenTensor;
  const inputs = { latents: tensor("clean_x"), noise: tensor("noise"), noised: tensor("noised_x"), t: tensor("t") };
  const options = LossConfig.parse({ lambdaHidden: meta.lambda_hidden_loss });
  const run = async (precision: "float32" | "bf16"): Promise<Record<string, Float32Array>> =>
    runOnce(
      weightsOf(config),
      specs,
      inputs,
      (p, { latents, noise, noised, t }) => {
        const { losses, gradients } = lossGradients(p, config, { latents, noise, t }, options);
        const present = Object.entries(gradients).filter((entry): entry is [string, tf.Tensor] => entry[1] !== null);
        const images = forward(p, config, { cleanX: latents, noisedX: noised, t }, ["noisePred", "condition"]);
        const all = { loss: losses.loss, ...images } as unknown as Record<string, tf.Tensor>;
        return { ...all, ...Object.fromEntries(present.map(([key, gradient]) => [GRADIENT + key, gradient])) };
      },
      "xla",
      precision,
    );
  const exact = await run("float32");
  for (const [ours, theirs] of [
    ["noisePred", "noise_pred"],
    ["condition", "condition"],
  ] as const) {
    const allowed = toleranceOf(meta.float64.max_abs_diff[theirs] as number);
    const worst = furthest(exact[ours], nhwc(tensor(`default.${theirs}`)));
    tell({
      what: `float32 ${theirs}: error`,
      value: worst / allowed,
      unit: "of what is allowed",
      ok: worst <= allowed,
    });
  }
  const gradients = toStateDict(specs, { ...zerosOf(specs), ...gradientsOf(exact) });
  let worst = { share: 0, key: "" };
  for (const [key, { data }] of Object.entries(goldenTensors("grads.safetensors"))) {
    const allowed = toleranceOf(meta.float64.grad_max_abs_diff[key] as number);
    const share = furthest(gradients[key]?.data, data) / allowed;
    if (!(share <= worst.share)) worst = { share, key };
  }
  const count = Object.keys(gradients).length;
  const what = `float32 gradients of ${count} parameters: error, worst of ${worst.key}`;
  tell({ what, value: worst.share, unit: "of what is allowed", ok: worst.share <= 1 });

  const rounded = await run("bf16");
  for (const [name, allowed] of Object.entries(AUTOCAST)) {
    const keys = Object.keys(exact).filter((key) => (name === "gradients" ? key.startsWith(GRADIENT) : key === name));
    const apart = distance(keys, rounded, exact);
    const unit = `(PyTorch's autocast: ${allowed})`;
    tell({ what: `bf16 ${name}: from float32`, value: apart, unit, ok: apart > 0 && apart <= allowed });
  }
}

const GRADIENT = "gradient ";

function gradientsOf(outputs: Record<string, Float32Array>): Record<string, Float32Array> {
  const all = Object.entries(outputs).filter(([name]) => name.startsWith(GRADIENT));
  return Object.fromEntries(all.map(([name, data]) => [name.slice(GRADIENT.length), data]));
}

/** Parameters that nothing depends on have no gradient; the reference's is zero. */
function zerosOf(specs: Readonly<Record<string, { readonly shape: readonly number[] }>>): Record<string, Float32Array> {
  const zeros = ({ shape }: { readonly shape: readonly number[] }) =>
    new Float32Array(shape.reduce((a, b) => a * b, 1));
  return Object.fromEntries(Object.entries(specs).map(([key, spec]) => [key, zeros(spec)]));
}

/** The largest difference of two elements; infinite if there is none to compare. */
function furthest(actual: ArrayLike<number> | undefined, expected: ArrayLike<number>): number {
  if (actual?.length !== expected.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const by = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
    if (!(by <= worst)) worst = Number.isNaN(by) ? Infinity : by;
  }
  return worst;
}

/** |a - b| / |b| in the 2-norm, over several tensors side by side. */
function distance(
  keys: readonly string[],
  a: Readonly<Record<string, Float32Array>>,
  b: Readonly<Record<string, Float32Array>>,
): number {
  let [difference, size] = [0, 0];
  for (const key of keys)
    b[key]?.forEach((y, i) => {
      difference += ((a[key]?.[i] ?? NaN) - y) ** 2;
      size += y ** 2;
    });
  return Math.sqrt(difference / size);
}
