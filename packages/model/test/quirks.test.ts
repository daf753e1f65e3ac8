import { readFile } from "node:fs/promises";
import { forward, madformerSpecs, Quirks, QUIRKS, type MadformerConfig, type OutputName } from "@madformer/model";
import { networkTime } from "../src/unet/towers.js";
import { batchOf, differenceOf, runOnce, tiny, valuesOf, weightsOf } from "../src/testing.js";

const OUTPUTS = ["noisePred", "condition", "cleanTower"] as const satisfies readonly OutputName[];
type Name = keyof Quirks;
const names = Object.keys(QUIRKS.sound) as Name[];

/** The outputs that a switch changes, all else being equal; the weights are the same. */
async function changedBy(name: Name, mode: object = {}): Promise<OutputName[]> {
  const sizes = { arLayers: 1, diffusionLayers: 1, ...mode };
  const [before, after] = [
    tiny({ ...sizes, quirks: QUIRKS.sound }),
    tiny({ ...sizes, quirks: { ...QUIRKS.sound, [name]: QUIRKS.reference[name] } }),
  ];
  const { t, ...latents } = batchOf(before, 1);
  const batch = { ...latents, t: { ...t, data: t.data.map((timestep) => 900 - (timestep % 800)) } }; // not 0
  const p = valuesOf(madformerSpecs(before), weightsOf(before));
  const wanted = OUTPUTS.filter((output) => output !== "cleanTower" || !before.clearClean);
  const run = (config: MadformerConfig) =>
    runOnce({ p, ...batch }, ({ p, ...batch }) => ({ ...forward(p, config, batch, wanted) }));
  const [a, b] = [await run(before), await run(after)];
  const differences = wanted.map((output) => [output, differenceOf(a[output]!, b[output]!).by] as const);
  // Where nothing changes, other graphs may still add in another order.
  for (const [, by] of differences) expect(by > 1e-3 || by < 1e-5).toBe(true);
  return differences.flatMap(([output, by]) => (by > 1e-3 ? [output] : []));
}

describe("a switch of the quirks changes what it says and nothing else:", () => {
  test.each([
    ["condition", ["condition"]],
    ["conditionSkips", ["condition"]],
    ["cleanTimestep", ["noisePred", "condition", "cleanTower"]],
    ["timestepScale", ["noisePred"]], // all else is embedded with timestep 0
    ["ropePairs", ["noisePred", "condition", "cleanTower"]],
    ["ropeExponents", ["noisePred", "condition", "cleanTower"]],
    ["warmupStart", []], // of the learning rate
  ] as [Name, OutputName[]][])("%s", async (name, outputs) => expect(await changedBy(name)).toEqual(outputs));

  test("none is left out here", () => {
    expect(names.sort()).toEqual(
      [
        "condition",
        "conditionSkips",
        "cleanTimestep",
        "timestepScale",
        "ropePairs",
        "ropeExponents",
        "warmupStart",
      ].sort(),
    );
  });

  test("timestepScale: raw-bfloat16 rounds timesteps as bfloat16 does, halfway cases to even", async () => {
    const config = tiny({ quirks: { ...QUIRKS.reference, timestepScale: "raw-bfloat16" } });
    const t = { shape: [1000], data: Float32Array.from({ length: 1000 }, (_, i) => i) };
    const { y } = await runOnce({ t }, ({ t }) => ({ y: networkTime(t, config) }));
    const bits = new Uint32Array(t.data.buffer);
    const rounded = new Float32Array(bits.map((x) => (x + 0x7fff + ((x >>> 16) & 1)) & 0xffff0000).buffer);
    expect(y).toEqual(rounded);
    expect([255, 257, 259, 999].map((i) => y[i])).toEqual([255, 256, 260, 1000]);
  });

  test("cleanTimestep does not matter to noised blocks without a clean context: of one block there is none", async () => {
    expect(await changedBy("cleanTimestep", { blocks: 1 })).toEqual(["condition", "cleanTower"]);
  });
});

test("QUIRKS are complete; reference and sound differ in every switch, and the branch from the former in the condition alone", () => {
  for (const set of Object.values(QUIRKS)) expect(Quirks.parse(set)).toEqual(set);
  for (const name of names) expect(QUIRKS.reference[name]).not.toBe(QUIRKS.sound[name]);
  expect(QUIRKS.imagenet).toEqual({ ...QUIRKS.reference, condition: "autoregressive" });
});

test("the README's table lists every quirk with both values and its section", async () => {
  const text = await readFile(new URL("../README.md", import.meta.url), "utf8");
  for (const name of names) {
    const row = text.split("\n").find((line) => line.startsWith(`| \`${name}\``));
    if (row === undefined) throw new Error(`no row for ${name}`);
    const cells = row.split("|").map((cell) => cell.trim());
    expect(cells[2]).toBe(`\`"${QUIRKS.reference[name]}"\``);
    expect(cells[3]).toBe(`\`"${QUIRKS.sound[name]}"\``);
    expect(cells[5]).toMatch(/^\d+(\.\d+)?$/);
  }
});
