import "@tensorflow/tfjs";
import * as tf from "@tensorflow/tfjs-core";
import { resizeWeights } from "../../ir/resize.js";

/**
 * Replaces tfjs 4.22's `ResizeNearestNeighborGrad` on its `cpu` backend, which finds the images of a batch in `dy` by
 * the size of the *resized-from* images: from the second image on it reads the gradient of others. (It also knows no
 * half-pixel centers, which the forward kernel has.) The eager engine is an oracle; it must not be wrong.
 */
export function repairCpuKernels(): void {
  if (repaired) return;
  repaired = true;
  tf.unregisterKernel("ResizeNearestNeighborGrad", "cpu");
  tf.registerKernel({
    kernelName: "ResizeNearestNeighborGrad",
    backendName: "cpu",
    kernelFunc: resizeNearestGrad as tf.KernelFunc,
  });
}

let repaired = false;

interface CpuBackend {
  readonly data: { get(dataId: tf.DataId): { readonly values: Float32Array } };
  makeTensorInfo(shape: readonly number[], dtype: "float32", values: Float32Array): tf.TensorInfo;
}

function resizeNearestGrad({
  inputs,
  backend,
  attrs,
}: {
  inputs: { images: tf.TensorInfo; dy: tf.TensorInfo };
  backend: CpuBackend;
  attrs: { alignCorners: boolean; halfPixelCenters?: boolean };
}): tf.TensorInfo {
  const [N, H, W, C] = inputs.images.shape as [number, number, number, number];
  const [, height, width] = inputs.dy.shape as [number, number, number, number];
  const coordinates = attrs.alignCorners ? "alignCorners" : attrs.halfPixelCenters ? "halfPixel" : "asymmetric";
  const picks = (from: number, to: number): number[] =>
    resizeWeights("nearest", coordinates, from, to).map(([pick]) => pick?.index ?? 0);
  const [rows, columns] = [picks(H, height), picks(W, width)];
  const dy = backend.data.get(inputs.dy.dataId).values;
  const dx = new Float32Array(N * H * W * C);
  let from = 0;
  for (let n = 0; n < N; n++)
    for (const row of rows)
      for (const column of columns) {
        const to = ((n * H + row) * W + column) * C;
        for (let c = 0; c < C; c++) dx[to + c] = (dx[to + c] as number) + (dy[from++] as number);
      }
  return backend.makeTensorInfo(inputs.images.shape, "float32", dx);
}
