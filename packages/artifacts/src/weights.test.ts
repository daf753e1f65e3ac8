import { FormatError } from "./format-error.js";
import { pickleOf, withFile, zipOf } from "./testing.js";
import { openWeights } from "./weights.js";

const text = (value: string): string => `X${String.fromCharCode(value.length)}\0\0\0${value}`;
const tensor = (storage: string): string =>
  `ctorch._utils\n_rebuild_tensor_v2\n((${text("storage")}ctorch\n${storage}\n${text("0")}${text("cpu")}K\x01tQK\0(K\x01t(K\x01t\x89}tR`;

test("openWeights() lists a tensor of a foreign type, and names it only when it is read", async () => {
  const pickle = ["}", `${text("w")}${tensor("FloatStorage")}s`, `${text("freqs")}${tensor("ComplexFloatStorage")}s`];
  await withFile(await zipOf({ "x/data.pkl": pickleOf(pickle), "x/data/0": Buffer.alloc(8) }), async (path) => {
    await using file = await openWeights(path);
    expect(file.names).toEqual(["w", "freqs"]);
    expect(await file.readWeights("w")).toEqual(Float32Array.of(0));
    const reading = file.readWeights("freqs");
    await expect(reading).rejects.toThrow(FormatError);
    await expect(reading).rejects.toThrow('tensor "freqs" is of complex64, which is not read here');
  });
});
