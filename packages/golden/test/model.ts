import { compile, spec, type CompileOptions, type EngineName, type TensorData } from "@madformer/engine";
import { configFromReference, fromStateDict, madformerSpecs, Scope, type MadformerConfig } from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import { goldenTensors, META, type GoldenTensor } from "./golden.js";

/** The variants of the set: flags of the config, by name. */
export const VARIANTS = Object.keys(META.forward as object);

/** The config of a variant: its name is its flags. */
export function configOf(variant: string, model: object = META.model as object): MadformerConfig {
  return configFromReference({
    ...model,
    clear_clean: variant.includes("clear_clean"),
    clear_cond: variant.includes("clear_cond"),
    denoising_mlp: variant.includes("denoising_mlp"),
  });
}

/** A state dict of the set, as programs take it. */
export function weightsOf(config: MadformerConfig, file = "model.safetensors"): Record<string, Float32Array> {
  return fromStateDict(
    madformerSpecs(config),
    goldenTensors(file) as Record<string, GoldenTensor & { data: Float32Array }>,
  );
}

/**
 * What tensors of the set are inside a function: their ranks are those of the set, so that they fit wherever they go.
 */
type Inside<Name extends string> = Readonly<Record<Name, never>>;

/** All parameters, as parts of a model take them. */
export const scopeOf = (params: Record<string, tf.Tensor>): Scope => new Scope(params);

/** Runs a function of parameters and inputs once. */
export async function runOnce<Name extends string>(
  params: Record<string, Float32Array>,
  shapes: Record<string, { readonly shape: readonly number[] }>,
  inputs: Readonly<Record<Name, GoldenTensor>>,
  fn: (params: Record<string, tf.Tensor>, inputs: Inside<Name>) => Record<string, tf.Tensor>,
  engine?: EngineName,
  precision?: CompileOptions["precision"],
): Promise<Record<string, Float32Array>> {
  const state = Object.fromEntries(Object.entries(shapes).map(([key, { shape }]) => [key, spec(shape)]));
  const dtype = ({ data }: GoldenTensor) => (data instanceof Int32Array ? "int32" : "float32");
  await using program = await compile(
    ({ params }, inputs) => ({ outputs: fn(params, inputs as Inside<Name>) }),
    {
      state: { params: state },
      inputs: Object.fromEntries(
        Object.entries<GoldenTensor>(inputs).map(([name, tensor]) => [name, spec(tensor.shape, dtype(tensor))]),
      ),
    },
    { name: "golden", ...(engine && { engine }), ...(precision && { precision }), initialState: { params } },
  );
  const values = Object.fromEntries(
    Object.entries<GoldenTensor>(inputs).map(([name, { data }]) => [name, data as TensorData]),
  );
  return (await program.run(values)) as Record<string, Float32Array>;
}

/** NCHW images -> NHWC, which has the elements of a block of latent pixels in their order. */
export function nhwc({ shape, data }: GoldenTensor): Float32Array {
  const [N = 0, C = 0, H = 0, W = 0] = shape;
  const result = new Float32Array(data.length);
  for (let n = 0; n < N; n++)
    for (let c = 0; c < C; c++)
      for (let i = 0; i < H * W; i++) result[(n * H * W + i) * C + c] = Number(data[(n * C + c) * H * W + i]);
  return result;
}
