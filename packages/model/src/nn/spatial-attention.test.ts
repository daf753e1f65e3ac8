import { spatialAttentionSpecs } from "./spatial-attention.js";

test.each([
  [16, 4, 16], // four heads of four channels
  [15, 4, 15], // five of three
  [5, 4, 5], // five of one
  [14, 4, 12], // four of three; two channels have none
])("spatialAttentionSpecs() of %d channels and %d heads projects to %d", (channels, heads, inner) => {
  const specs = spatialAttentionSpecs(channels, heads);
  for (const name of ["to_q", "to_k", "to_v"]) expect(specs[`${name}.weight`]?.shape).toEqual([inner, channels]);
  expect(specs["to_out.0.weight"]?.shape).toEqual([channels, inner]);
});
