import * as tf from "@tensorflow/tfjs-core";
import { caseOf, expectAgreement } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { Draws, given, type Value } from "../values.js";

const draws = new Draws("networks");
const NETWORK = { tolerance: TOLERANCE.network, gradient: TOLERANCE.network };

/** Rows whose spread is far from one: where `eps` matters, and where it could be lost. */
function rows<const S extends readonly number[]>(shape: S): Value<S> {
  const { data, ...type } = draws.normal(shape);
  const C = shape.at(-1) ?? 1;
  const scales = [1, 1e-3, 30, 0.1];
  return { ...type, data: data.map((x, i) => (x + 0.5) * scales[Math.floor(i / C) % scales.length]!) };
}

/** (x - mean) / sqrt(variance + eps) over these axes. */
function normalize(x: tf.Tensor, axes: number[], eps: number): tf.Tensor {
  const centered = tf.sub(x, tf.mean(x, axes, true));
  return tf.mul(centered, tf.rsqrt(tf.add(tf.mean(tf.square(centered), axes, true), eps)));
}

function layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor): tf.Tensor {
  return tf.add(tf.mul(normalize(x, [x.rank - 1], 1e-5), weight), bias);
}

function rmsNorm(x: tf.Tensor, weight: tf.Tensor): tf.Tensor {
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5))), weight);
}

/** Over the pixels and the channels of each group. */
function groupNorm(x: tf.Tensor4D, groups: number, weight: tf.Tensor, bias: tf.Tensor): tf.Tensor {
  const [N, H, W, C] = x.shape;
  const split = tf.reshape(x, [N, H * W, groups, C / groups]);
  return tf.add(tf.mul(tf.reshape(normalize(split, [1, 3], 1e-5), x.shape), weight), bias);
}

const silu = (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.sigmoid(x));

describe("normalizations", () => {
  test("layer norm and its gradients", async () => {
    const cases = [
      [4, 8],
      [2, 3, 5],
      [1, 1],
      [2, 2, 2, 7],
    ].map((shape) => {
      const C = shape.at(-1)!;
      const values = { x: rows(shape), weight: draws.normal([C]), bias: draws.normal([C]) };
      return caseOf("layer norm", values, ({ x, weight, bias }) => layerNorm(x, weight, bias), NETWORK);
    });
    await expectAgreement(cases);
  });

  test("layer norm with tf.moments() and a division", async () => {
    const cases = [
      [4, 8],
      [2, 3, 5],
    ].map((shape) =>
      caseOf(
        "layer norm",
        { x: rows(shape) },
        ({ x }) => {
          const { mean, variance } = tf.moments(x, -1, true);
          return tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-5)));
        },
        NETWORK,
      ),
    );
    await expectAgreement(cases);
  });

  test("RMS norm and its gradients, of a row of zeros too", async () => {
    const shapes = [
      [4, 8],
      [2, 3, 5],
      [1, 1],
      [2, 2, 2, 7],
    ];
    const zeros = given([2, 3], [0, 0, 0, 1e-3, -2e-3, 1e-3]);
    const values = [...shapes.map((shape) => rows(shape)), zeros];
    await expectAgreement(
      values.map((x) =>
        caseOf(
          "RMS norm",
          { x, weight: draws.normal(x.shape.slice(-1)) },
          ({ x, weight }) => rmsNorm(x, weight),
          NETWORK,
        ),
      ),
    );
  });

  test("group norm and its gradients", async () => {
    const cases = [1, 2, 4].flatMap((groups) =>
      ([[2, 3, 5, 4], [1, 1, 1, 8]] as const) // prettier-ignore
        .map((shape) => {
          const C = shape[3];
          const values = { x: draws.normal(shape), weight: draws.normal([C]), bias: draws.normal([C]) };
          return caseOf(
            `group norm of ${groups}`,
            values,
            ({ x, weight, bias }) => groupNorm(x, groups, weight, bias),
            NETWORK,
          );
        }),
    );
    await expectAgreement(cases);
  });
});

describe("layers of a transformer", () => {
  test("attention under a mask, with its gradients", async () => {
    const [B, H, T, D] = [2, 3, 5, 4];
    const values = {
      x: draws.normal([B, T, H * D]),
      w: draws.normal([H * D, 3 * H * D], 0.3),
      out: draws.normal([H * D, H * D], 0.3),
    };
    const mask = Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -1e9 : 0));
    const attention = caseOf(
      "attention",
      values,
      ({ x, w, out }) => {
        const qkv = tf.reshape(tf.matMul(tf.reshape(x, [B * T, H * D]), w), [B, T, 3, H, D]);
        const [q, k, v] = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4])) as [tf.Tensor, tf.Tensor, tf.Tensor];
        const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), D ** -0.5), tf.tensor(mask, [T, T]));
        const heads = tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]); // (B, T, H, D)
        return tf.matMul(tf.reshape(heads, [B * T, H * D]), out);
      },
      NETWORK,
    );
    await expectAgreement([attention]);
  });

  test("rotary embedding and normalized queries", async () => {
    const [T, D] = [5, 8];
    const angles = Array.from(
      { length: T * (D / 2) },
      (_, i) => Math.floor(i / (D / 2)) * 10_000 ** (-(i % (D / 2)) / (D / 2)),
    );
    const rotated = caseOf(
      "rotary",
      { q: draws.normal([2, T, D]), weight: draws.normal([D]) },
      ({ q, weight }) => {
        const [a, b] = tf.split(rmsNorm(q, weight), 2, -1) as [tf.Tensor, tf.Tensor];
        const [cos, sin] = [tf.cos(tf.tensor(angles, [T, D / 2])), tf.sin(tf.tensor(angles, [T, D / 2]))];
        return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], -1);
      },
      NETWORK,
    );
    await expectAgreement([rotated]);
  });

  test("SwiGLU, modulated as by a time embedding", async () => {
    const [B, T, C] = [2, 3, 4];
    const values = {
      x: draws.normal([B, T, C]),
      time: draws.normal([B, 3 * C]),
      gate: draws.normal([C, 2 * C], 0.5),
      up: draws.normal([C, 2 * C], 0.5),
      down: draws.normal([2 * C, C], 0.5),
    };
    const block = caseOf(
      "SwiGLU",
      values,
      ({ x, time, gate, up, down }) => {
        const [shift, scale, strength] = tf.split(tf.expandDims(time, 1), 3, -1) as [tf.Tensor, tf.Tensor, tf.Tensor];
        const h = tf.reshape(tf.add(tf.mul(normalize(x, [2], 1e-5), tf.add(1, scale)), shift), [B * T, C]);
        const inner = tf.mul(silu(tf.matMul(h, gate)), tf.matMul(h, up));
        return tf.add(x, tf.mul(strength, tf.reshape(tf.matMul(inner, down), [B, T, C])));
      },
      NETWORK,
    );
    await expectAgreement([block]);
  });

  test("cross entropy against labels, and the loss of a denoiser", async () => {
    const labels = draws.integers([6], 0, 5);
    await expectAgreement([
      caseOf(
        "cross entropy",
        { logits: draws.normal([6, 5], 2), labels },
        ({ logits, labels }) => tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), tf.oneHot(labels, 5)), -1))),
        NETWORK,
      ),
      caseOf(
        "weighted squares",
        { y: draws.normal([2, 3, 4]), target: draws.normal([2, 3, 4]), sigma: draws.uniform([2, 1, 1], 0.1, 3) },
        ({ y, target, sigma }) => {
          const weight = tf.div(tf.add(tf.square(sigma), 0.25), tf.square(tf.mul(sigma, 0.5)));
          return tf.mean(tf.mul(weight, tf.squaredDifference(y, target)));
        },
        { ...NETWORK, by: ["y", "target"] },
      ),
    ]);
  });
});

describe("layers of a U-Net and of an image autoencoder", () => {
  test("a residual block: group norm, SiLU, convolution, twice, and a projection beside", async () => {
    const [I, O] = [4, 6];
    const values = {
      x: draws.normal([2, 6, 5, I]),
      weight: draws.normal([I]),
      bias: draws.normal([I]),
      first: draws.normal([3, 3, I, O], 0.3),
      second: draws.normal([3, 3, O, O], 0.3),
      beside: draws.normal([1, 1, I, O], 0.5),
    };
    const block = caseOf(
      "residual block",
      values,
      ({ x, weight, bias, first, second, beside }) => {
        const h = tf.conv2d(silu(groupNorm(x, 2, weight, bias)) as tf.Tensor4D, first, 1, "same");
        return tf.add(tf.conv2d(silu(h) as tf.Tensor4D, second, 1, "same"), tf.conv2d(x, beside, 1, "same"));
      },
      NETWORK,
    );
    await expectAgreement([block]);
  });

  test("down by a strided convolution, up by nearest pixels and a convolution", async () => {
    const values = {
      x: draws.normal([2, 8, 6, 3]),
      down: draws.normal([3, 3, 3, 4], 0.3),
      up: draws.normal([3, 3, 4, 3], 0.3),
    };
    const network = caseOf(
      "down and up",
      values,
      ({ x, down, up }) => {
        const padded = tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]]); // prettier-ignore
        const small = tf.conv2d(padded, down, 2, "valid"); // (2, 4, 3, 4)
        return tf.conv2d(tf.image.resizeNearestNeighbor(tf.relu(small), [8, 6]), up, 1, "same");
      },
      NETWORK,
    );
    await expectAgreement([network]);
  });

  test("an Inception block: convolutions and pools side by side, normalized as at inference", async () => {
    const values = {
      x: draws.normal([1, 7, 7, 4]),
      one: draws.normal([1, 1, 4, 3], 0.4),
      wide: draws.normal([1, 7, 4, 3], 0.3),
      tall: draws.normal([7, 1, 3, 3], 0.3),
      mean: draws.normal([3]),
      variance: draws.uniform([3], 0.5, 2),
    };
    const block = caseOf(
      "Inception block",
      values,
      ({ x, one, wide, tall, mean, variance }) => {
        const unit = (y: tf.Tensor4D): tf.Tensor4D =>
          tf.relu(tf.mul(tf.sub(y, mean), tf.rsqrt(tf.add(variance, 1e-3))));
        const branches = [
          unit(tf.conv2d(x, one, 1, "same")),
          unit(tf.conv2d(unit(tf.conv2d(x, wide, 1, "same")), tall, 1, "same")),
          unit(tf.conv2d(tf.avgPool(x, 3, 1, "same"), one, 1, "same")),
          tf.maxPool(x, 3, 1, "same"),
        ];
        return tf.concat(branches, 3);
      },
      { ...NETWORK, gradient: false },
    );
    await expectAgreement([block]);
  });
});

describe("an optimizer", () => {
  test("AdamW with clipping by the norm of all gradients", async () => {
    const values = {
      w: draws.normal([3, 4]),
      m: draws.normal([3, 4], 0.1),
      v: draws.uniform([3, 4], 0, 0.1),
      g: draws.normal([3, 4]),
      step: given([], [3]),
    };
    const adamW = caseOf(
      "AdamW",
      values,
      ({ w, m, v, g, step }) => {
        const norm = tf.sqrt(tf.sum(tf.square(g)));
        const clipped = tf.mul(g, tf.minimum(tf.div(1, tf.add(norm, 1e-6)), 1));
        const m1 = tf.add(tf.mul(m, 0.9), tf.mul(clipped, 0.1));
        const v1 = tf.add(tf.mul(v, 0.95), tf.mul(tf.square(clipped), 0.05));
        const [mHat, vHat] = [tf.div(m1, tf.sub(1, tf.pow(0.9, step))), tf.div(v1, tf.sub(1, tf.pow(0.95, step)))];
        const next = tf.sub(tf.mul(w, 1 - 3e-4), tf.mul(3e-3, tf.div(mHat, tf.add(tf.sqrt(vHat), 1e-8))));
        return [next, m1, v1];
      },
      { tolerance: TOLERANCE.network, gradient: false },
    );
    await expectAgreement([adamW]);
  });
});
