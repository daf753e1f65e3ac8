/** What PyTorch says of the tensors in its files: `described` in torch-check.py. */
import { toFloat64, type TorchTensor } from "@madformer/artifacts";

export interface Expected {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly values: readonly number[];
  readonly parameter: boolean;
}

/** Compares names, in their order, and all that is known of each tensor. */
export async function expectTensors(
  tensors: ReadonlyMap<string, TorchTensor>,
  expected: Readonly<Record<string, Expected>>,
): Promise<void> {
  expect([...tensors.keys()]).toEqual(Object.keys(expected));
  for (const [name, tensor] of tensors) {
    const { dtype, strides, isParameter } = tensor;
    const value = await tensor.read();
    const values = Array.from(toFloat64(value));
    expect({ name, dtype, shape: value.shape, strides, values, parameter: isParameter }).toEqual({
      name,
      ...expected[name],
    });
  }
}
