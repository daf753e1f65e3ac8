/** The README's commands are understood: stages by `--dry-run`, all others as they stand. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { torchTensor, writeNpz, writeSafetensors, writeTorch } from "@madformer/artifacts";
import { run } from "@madformer/cli";
import { STAGES } from "../src/stages/table.js";

const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
const block = /```sh\n(.*?)```/s.exec(readme)?.[1];
if (block === undefined) throw new Error("the README has no block of commands");

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "readme-"));
  const weight = { shape: [2], data: Float32Array.of(1, 2) };
  await writeSafetensors(at("weights.safetensors"), { weight });
  await writeTorch(at("0010000.pt"), { ema: { "layer.weight": torchTensor(weight) } });
  await writeNpz(at("stats.npz"), { mu: weight });
});
afterAll(() => rm(folder, { recursive: true }));

test.each(block.trim().split("\n"))("%s", async (command) => {
  const [program, ...words] = command.split(" ").map((word) => word.replaceAll("'", ""));
  expect(program).toBe("madformer");
  const args = words.map((word) => (/\.(safetensors|pt|npz)$/.test(word) ? at(word) : word));
  if (STAGES.some(({ name }) => name === words[0])) args.push("--dry-run");
  let [out, err] = ["", ""];
  const code = await run(args, { out: (text) => (out += text), err: (text) => (err += text) });
  expect([code, err]).toEqual([0, ""]);
  expect(out).not.toBe("");
});
