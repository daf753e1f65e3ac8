import { appendFile, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, writeSafetensors, type TensorInput } from "@madformer/artifacts";
import { normal, randomKey } from "@madformer/engine";
import { fromStateDict, madformerSpecs, toStateDict } from "@madformer/model";
import type { Weights } from "@madformer/optim";
import {
  CheckpointError,
  checkpointSteps,
  PARTS,
  readCheckpoint,
  removeWhole,
  writeCheckpoint,
  type Part,
} from "./checkpoint.js";
import { temporaryFolder, TINY_MODEL, tinyConfig } from "./testing.js";

const { model } = tinyConfig({ model: TINY_MODEL });
const specs = madformerSpecs(model);
const state = Object.fromEntries(
  PARTS.map((part) => [
    part,
    Object.fromEntries(
      Object.entries(specs).map(([key, { shape }]) => [
        key,
        normal(randomKey(1, `${part} ${key}`), { size: shape.reduce((a, b) => a * b, 1) }),
      ]),
    ),
  ]),
) as Record<Part, Weights>;
const read = (part: Part, key: string): Float32Array => state[part][key]!;
const notes = { window: { steps: 2, loss: 0.1 + 0.2 }, last: null };

async function written() {
  const folder = await temporaryFolder("checkpoint");
  const [checkpoints, tmp] = [join(folder.path, "checkpoints"), join(folder.path, "tmp")];
  await mkdir(checkpoints);
  await mkdir(tmp);
  const write = (step: number): Promise<void> => writeCheckpoint(checkpoints, tmp, model, { step, notes }, read);
  await write(400);
  const path = join(checkpoints, "step-0000400");
  return { checkpoints, tmp, path, write, [Symbol.asyncDispose]: folder[Symbol.asyncDispose] };
}

describe("a checkpoint", () => {
  test("is read as it was written, bit for bit", async () => {
    await using place = await written();
    expect(await readCheckpoint(place.checkpoints, model, 400)).toEqual({ ...state, step: 400, notes });
    expect(await readdir(place.tmp)).toEqual([]);
  });

  test("has the reference's keys and layouts", async () => {
    await using place = await written();
    for (const [file, part] of [["weights", "params"] as const, ["ema", "ema"] as const]) {
      await using tensors = await openSafetensors(join(place.path, `${file}.safetensors`));
      const expected = toStateDict(specs, state[part]);
      expect([...tensors.names].sort()).toEqual(Object.keys(specs).sort());
      for (const name of tensors.names) expect(await tensors.read(name)).toMatchObject({ ...expected[name] });
      expect(tensors.tensor("downsampler.conv_in.weight").shape).toEqual([4, 3, 3, 3]); // OIHW
    }
    await using moments = await openSafetensors(join(place.path, "state.safetensors"));
    const tensor = await moments.read("exp_avg_sq.downsampler.conv_in.weight");
    const key = "downsampler.conv_in.weight";
    const one = { [key]: specs[key]! };
    expect(fromStateDict(one, { [key]: tensor as never })[key]).toEqual(state.v[key]);
  });

  test.each(["weights", "ema", "state"])("is refused with one bit of %s.safetensors wrong, wherever", async (file) => {
    await using place = await written();
    const handle = await open(join(place.path, `${file}.safetensors`), "r+");
    const { size } = await handle.stat();
    const byte = new Uint8Array(1);
    for (const at of [3, 20, Math.floor(size / 2), size - 1]) {
      await handle.read(byte, 0, 1, at);
      await handle.write(
        byte.map((b) => b ^ 4),
        0,
        1,
        at,
      );
      await expect(readCheckpoint(place.checkpoints, model, 400)).rejects.toThrow(CheckpointError);
      await handle.write(byte, 0, 1, at);
    }
    await handle.close();
    await readCheckpoint(place.checkpoints, model, 400); // whole again
  });

  test("is refused without a file, with one cut short, and with one of another step", async () => {
    await using place = await written();
    await place.write(500);
    const [mine, other] = ["400", "500"].map((step) => join(place.checkpoints, `step-0000${step}`, "ema.safetensors"));
    const refused = (): Promise<void> =>
      expect(readCheckpoint(place.checkpoints, model, 400)).rejects.toThrow(/^Cannot go on from ".*step-0000400": /);
    await appendFile(mine!, "x");
    await refused();
    await rename(other!, mine!);
    await refused();
    await rm(mine!);
    await refused();
    await rm(place.path, { recursive: true });
    await writeFile(place.path, "a file");
    await refused();
  });

  test.each([
    ["params", "weights", ""],
    ["ema", "ema", ""],
    ["m", "state", "exp_avg."],
    ["v", "state", "exp_avg_sq."],
  ] as const)("is neither written nor read where a number of %s is not finite", async (part, file, prefix) => {
    await using place = await written();
    const key = "downsampler.conv_in.weight";
    const problem = `tensor "${prefix}${key}" of ${file}.safetensors is not finite: 1 of 108 elements, the first is NaN at`;
    const broken = (of: Part, name: string): Float32Array =>
      of === part && name === key ? state[of][name]!.map((x, i) => (i === 5 ? NaN : x)) : state[of][name]!;
    await expect(writeCheckpoint(place.checkpoints, place.tmp, model, { step: 500, notes }, broken)).rejects.toThrow(
      `Cannot write the checkpoint of step 500: ${problem}`,
    );
    expect(await checkpointSteps(place.checkpoints)).toEqual([400]);

    const path = join(place.path, `${file}.safetensors`);
    const tensors: Record<string, TensorInput> = {};
    {
      await using opened = await openSafetensors(path);
      for (const name of opened.names) tensors[name] = await opened.read(name);
    }
    (tensors[prefix + key]!.data as Float32Array)[7] = -Infinity;
    await writeSafetensors(path, tensors);
    const reading = readCheckpoint(place.checkpoints, model, 400);
    await expect(reading).rejects.toThrow(CheckpointError);
    await expect(reading).rejects.toThrow(
      `Cannot read ${JSON.stringify(path)}: tensor "${prefix}${key}" is not finite: 1 of 108 elements, the first is -Infinity at index 7`,
    );
  });

  test("of another model is refused", async () => {
    await using place = await written();
    const wider = tinyConfig({ model: { ...TINY_MODEL, width: 24 } }).model;
    await expect(readCheckpoint(place.checkpoints, wider, 400)).rejects.toThrow(/has shape .*, expected/);
  });

  test("that cannot be read for another reason is not taken for damaged", async () => {
    await using place = await written();
    await rm(join(place.path, "ema.safetensors"));
    await mkdir(join(place.path, "ema.safetensors"));
    const error: unknown = await readCheckpoint(place.checkpoints, model, 400).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(CheckpointError);
  });
});

test("checkpointSteps() lists steps in their order, and nothing else", async () => {
  await using folder = await temporaryFolder("steps");
  for (const name of ["step-0000400", "step-12345678", "step-0000039", "step-39", "step-00000400", "other", "step-x"])
    await mkdir(join(folder.path, name));
  expect(await checkpointSteps(folder.path)).toEqual([39, 400, 12_345_678]);
});

test("removeWhole() removes a folder, whatever an earlier one left behind", async () => {
  await using place = await written();
  await mkdir(join(place.tmp, "removed", "half"), { recursive: true });
  await removeWhole(place.path, place.tmp);
  expect([await readdir(place.checkpoints), await readdir(place.tmp)]).toEqual([[], []]);
});
