/**
 * Files from a real PyTorch, and files for one. `MADFORMER_PYTHON` names a Python that has it; else `python3` is asked.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  openDataFile,
  openTorch,
  OrderedDict,
  pyFloat,
  torchTensor,
  writeTorch,
  writeTorchCheckpoint,
  type DType,
  type TensorInput,
  type TorchInput,
} from "@madformer/artifacts";
import { expectTensors, type Expected } from "./expected.js";

const PYTHON = process.env["MADFORMER_PYTHON"] ?? "python3";
const found = spawnSync(PYTHON, ["-c", "import torch; torch.uint16; print(torch.__version__)"], { encoding: "utf8" });
const version = found.status === 0 ? found.stdout.trim() : undefined;

(version ? describe : describe.skip)(
  version
    ? `PyTorch ${version}`
    : `PyTorch (skipped: ${PYTHON} cannot import torch 2.3 or newer; set MADFORMER_PYTHON to a Python that can)`,
  () => {
    let folder: string;
    const check = (mode: "save" | "load" | "legacy"): string =>
      execFileSync(PYTHON, [fileURLToPath(new URL("torch-check.py", import.meta.url)), mode, folder], {
        encoding: "utf8",
      });
    beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "torch-"))));
    afterAll(() => rm(folder, { recursive: true }));

    test("torch.save is read, in both formats, with protocols 2 to 5", async () => {
      check("save");
      const expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as Record<string, Expected>;
      for (const name of [2, 3, 4, 5].flatMap((protocol) => [`${protocol}.pt`, `legacy-${protocol}.pt`])) {
        await using file = await openTorch(join(folder, name));
        const tensors = new Map([...file.tensors("tensors"), ...file.tensors("model")]);
        await expectTensors(tensors, expected);
        const [base, slice, row] = ["base", "slice", "row"].map((name) => tensors.get(name)?.storage);
        expect(slice).toBe(base);
        expect(row).toBe(base);
        const fields = { a: 1, b: 2.5, c: null, d: [1, [2, "x"]], big: 2n ** 70n, neg: -(2 ** 40) };
        expect(file.get("args")).toEqual({ kind: "namespace", fields });
        expect(file.get("opt", "param_groups", 0, "betas")).toEqual([0.9, 0.999]);
        expect(file.get("opt", "state", 1, "step")).toMatchObject({ dtype: "float32", shape: [] });
        expect(file.get("other")).toEqual([
          [2, 3],
          { kind: "device", type: "cuda", index: 1 },
          { kind: "dtype", name: "bfloat16" },
          { kind: "layout", name: "torch.strided" },
          Uint8Array.of(0, 255),
          Uint8Array.of(97, 98),
        ]);
        const complex = { kind: "complex", re: 1, im: 2 };
        expect(file.get("more")).toEqual([new Set([1, 2]), complex, new Map([["a", [1]]]), "/a/b", true, "ü\u{1f600}"]);
      }
    });

    test("the files of test/legacy are read, made anew", async () => {
      check("legacy");
      const files = JSON.parse(readFileSync(join(folder, "legacy.json"), "utf8")) as Record<
        string,
        Record<string, Expected>
      >;
      for (const [name, expected] of Object.entries(files)) {
        const opened = await openDataFile(join(folder, name));
        if (opened.kind !== "torch") throw new Error(`${name} is taken for ${opened.kind}`);
        await expectTensors(opened.file.tensors(), expected);
        await opened.file.close();
      }
    });

    test("torch.load reads what is written: weights_only and mmap, each on and off", async () => {
      const arrays: [DType, TensorInput["data"]][] = [
        ["float64", Float64Array.of(0, 1)],
        ["float32", Float32Array.of(0, 1)],
        ["float16", Uint16Array.of(0, 0x3c00)],
        ["bfloat16", Uint16Array.of(0, 0x3f80)],
        ["int64", BigInt64Array.of(0n, 1n)],
        ["int32", Int32Array.of(0, 1)],
        ["int16", Int16Array.of(0, 1)],
        ["int8", Int8Array.of(0, 1)],
        ["uint8", Uint8Array.of(0, 1)],
        ["bool", Uint8Array.of(0, 1)],
        ["uint16", Uint16Array.of(0, 1)],
        ["uint32", Uint32Array.of(0, 1)],
        ["uint64", BigUint64Array.of(0n, 1n)],
      ];
      const shared = Float32Array.of(1, 2, 3, 4);
      const tensors = new OrderedDict<TorchInput, TorchInput>(
        arrays.map(([dtype, data]) => [dtype, torchTensor({ dtype, shape: [1, 2], data })]),
      );
      tensors.set("a", torchTensor({ shape: [4], data: shared }));
      tensors.set("b", torchTensor({ shape: [2, 2], data: shared }));
      const one = { dtype: "float32" as const, shape: [1], data: () => Float32Array.of(1) };
      tensors.set("parameter", torchTensor(one, { isParameter: true, requiresGrad: true }));
      tensors.set("scalar", torchTensor({ shape: [], data: Float32Array.of(0.5) }));
      const tuple = Object.freeze([1, Object.freeze([2])]);
      const dict = new Map<TorchInput, TorchInput>([
        ["k", [pyFloat(1)]],
        [3, "x"],
      ]);
      const other = [null, true, 1, -(2 ** 40), 2n ** 70n, 0.5, "ü", tuple, dict];
      const value = { tensors, other, bytes: Uint8Array.of(0, 255) };
      await writeTorch(join(folder, "plain.pt"), value);
      await writeTorch(join(folder, "zip64.pt"), value, { zip64: true });

      const weights = () => new Map([["weight", { shape: [1, 2], data: Float32Array.of(1, 2) }], ["bias", { shape: [1], data: Float32Array.of(3) }]]); // prettier-ignore
      const moments = new Map(
        [...weights()].map(([name, tensor]) => [name, { step: 3, expAvg: tensor, expAvgSq: tensor }]),
      );
      const groups = [
        { lr: 1, betas: [0.9, 0.95] as const, eps: 1e-8, weightDecay: 0.05, initialLr: 1, params: [...moments.keys()] },
      ];
      await writeTorchCheckpoint(join(folder, "checkpoint.pt"), {
        model: weights(),
        ema: weights(),
        opt: { moments, groups },
        lrs: { baseLrs: [1], lastEpoch: 3, stepCount: 4, lastLr: [0.5] },
        args: { lr: 1, epochs: 200, id: null, quirks: { condition: "autoregressive" } },
      });
      expect(check("load").trim()).toBe(version);
    });
  },
);
