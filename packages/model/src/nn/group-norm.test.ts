import { Scope } from "../parameters.js";
import { draw, expectClose, runOnce, TOLERANCE } from "../testing.js";
import { groupNorm } from "./group-norm.js";

test("groupNorm() is the loop, also where a group's variance is near epsilon or 0", async () => {
  const [N, H, W, C, groups] = [2, 2, 3, 6, 3];
  // Of the groups of the second image one has a standard deviation of 0.001, and one none at all.
  const x = draw("x", N, H, W, C);
  for (let i = H * W * C; i < x.data.length; i++) {
    if (i % C < 2) x.data[i]! *= 1e-3;
    if (i % C >= 4) x.data[i] = 2;
  }
  const [weight, bias] = [draw("weight", C), draw("bias", C)];
  const { y } = await runOnce({ x, weight, bias }, ({ x, ...p }) => ({ y: groupNorm(new Scope(p), x, groups) }));
  const expected = x.data.map((value, i) => {
    const [n, group] = [Math.floor(i / (H * W * C)), Math.floor((i % C) / (C / groups))];
    const members = Array.from(x.data).filter(
      (_, k) => Math.floor(k / (H * W * C)) === n && Math.floor((k % C) / (C / groups)) === group,
    );
    const mean = members.reduce((a, b) => a + b, 0) / members.length;
    const variance = members.reduce((a, b) => a + (b - mean) ** 2, 0) / members.length;
    return ((value - mean) / Math.sqrt(variance + 1e-6)) * weight.data[i % C]! + bias.data[i % C]!;
  });
  expectClose(y, expected, TOLERANCE.layer);
});
