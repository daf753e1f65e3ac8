import { compileInference, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";

const weights = {
  scale: { shape: [2] as const, data: Float32Array.of(2, 3) },
  below: { shift: { shape: [] as const, data: Float32Array.of(1) } },
};
const affine = (
  { scale, below }: { scale: tf.Tensor1D; below: { shift: tf.Scalar } },
  { x }: { readonly x: tf.Tensor1D },
) => ({ y: tf.add(tf.mul(x, scale), below.shift) });

test.each(["onnx", "cpu"] as const)(
  "compileInference() makes weights constants, not state, on engine %s",
  async (engine) => {
    await using program = await compileInference(affine, weights, { x: spec([2]) }, { engine, name: undefined });
    expect([program.name, program.state.names, program.inputs.map(({ name }) => name)]).toEqual(["affine", [], ["x"]]);
    expect(await program.run({ x: [10, 100] })).toEqual({ y: Float32Array.of(21, 301) });
  },
);

test("compileInference() names the weight that has another size than its shape", async () => {
  const wrong = { ...weights, scale: { shape: [2] as const, data: Float32Array.of(1) } };
  await expect(compileInference(affine, wrong, { x: spec([2]) }, { name: "f" })).rejects.toThrow(
    'Program "f": "scale" has 1 elements, expected float32(2), 2 elements',
  );
});
