/**
 * Damaged files: each is read or refused with a FormatError, and nothing else happens. `FUZZ=n` runs n files per format
 * from a seed that the name of the test shows; without it the files are always the same.
 */
import { readFileSync } from "node:fs";
import {
  OrderedDict,
  TorchStorage,
  torchTensor,
  TorchTensor,
  writeNpy,
  writeNpz,
  writeSafetensors,
  writeTorch,
  type TorchInput,
} from "@madformer/artifacts";
import { ByteSource } from "../src/file/byte-source.js";
import { FormatError } from "../src/format-error.js";
import { readNpyFrom } from "../src/numpy/npy.js";
import { NpzFile, readNpzFrom } from "../src/numpy/npz.js";
import { openArtifactFrom } from "../src/open.js";
import { checkTree } from "../src/pickle/check-tree.js";
import { unpickle } from "../src/pickle/machine.js";
import { SafetensorsFile } from "../src/safetensors/read.js";
import { legacyOf, pickleOf, written, zipOf } from "../src/testing.js";
import { buildTorchObject, findTorchGlobal } from "../src/torch/globals.js";
import { TorchFile } from "../src/torch/read.js";
import { mutate, random } from "./mutate.js";

const EXPLORE = Number(process.env["FUZZ"] ?? 0);
const SEED = EXPLORE ? Date.now() % 2 ** 31 : 1;

/** Of a file that is a few kilobytes, a reader may take this much: 64 MiB are one inflated header, times its copies. */
const MEMORY_BYTES = 600 * 2 ** 20;
/** One file, on a machine that does other things too. Nearly all take less than a millisecond. */
const TIME_MS = 5_000;

const f32 = Float32Array.of(1, 2, 3, 4, 5, 6);

const VALUE: TorchInput = {
  model: new OrderedDict<TorchInput, TorchInput>([
    ["w", torchTensor({ shape: [2, 3], data: f32 })],
    ["v", torchTensor({ shape: [3, 2], data: f32 }, { isParameter: true })],
    ["h", torchTensor({ dtype: "bfloat16", shape: [2], data: Uint16Array.of(1, 2) })],
    ["u", torchTensor({ shape: [2], data: Uint32Array.of(1, 2) })],
  ]),
  opt: {
    state: new Map([[0, { step: torchTensor({ shape: [], data: Float32Array.of(3) }) }]]),
    param_groups: [{ lr: 0.5, params: [0, 1] }],
  },
  args: {
    kind: "namespace",
    fields: { a: 1, b: null, c: [Object.freeze([1, 2n ** 70n])], d: "text", e: { kind: "dtype", name: "float32" } },
  },
  more: [
    Uint8Array.of(1, 2),
    new Set([1]),
    { kind: "complex", re: 1, im: 2 },
    { kind: "device", type: "cuda", index: 0 },
  ],
};

/** Without their CRCs, so that damage inside an entry reaches the parser behind it. */
function withoutCrc(archive: Buffer): Buffer {
  for (let at = archive.indexOf("PK\x01\x02"); at >= 0; at = archive.indexOf("PK\x01\x02", at + 4))
    archive.writeUInt32LE(0, at + 16);
  return archive;
}

async function corpus(): Promise<Record<keyof typeof COUNTS, Buffer[]>> {
  const tensors = {
    w: { shape: [2, 3], data: f32 },
    b: { dtype: "bfloat16" as const, shape: [2], data: Uint16Array.of(1, 2) },
    e: { shape: [0, 4], data: new Int32Array(0) },
    'quoted "\n': { shape: [3], data: Uint8Array.of(1, 2, 3) },
  };
  const arrays = {
    mu: { shape: [3], data: Float64Array.of(1, 2, 3) },
    sigma: { shape: [2, 3], data: Int16Array.of(1, 2, 3, 4, 5, 6) },
  };
  const npz = (compress: boolean) => written((path) => writeNpz(path, arrays, { compress })).then(withoutCrc);
  const torch = (zip64: boolean) => written((path) => writeTorch(path, VALUE, { zip64 })).then(withoutCrc);
  const npy = await written((path) => writeNpy(path, arrays.sigma));
  const replaced = (from: string, to: string) => Buffer.from(npy.toString("latin1").replace(from, to), "latin1");
  const archive = await torch(false);
  const start = archive.indexOf("\x80\x02", 0, "latin1");
  const pickle = archive.subarray(start, archive.indexOf("PK\x03\x04", start));
  const records = Object.fromEntries([0, 1, 2, 3].map((key) => [`x/data/${key}`, Buffer.alloc(24)]));
  // Elements of float32, bfloat16, no type, float32: what the pickle says.
  const counts = [
    [6n, 24],
    [2n, 4],
    [8n, 8],
    [1n, 4],
  ] as const;
  const storages = counts.map(([count, bytes], key) => [String(key), count, Buffer.alloc(bytes)] as const);
  // Instructions of later protocols, which the writer does not use.
  const late = pickleOf([0x95, "\x20\0\0\0\0\0\0\0", "(", 0x8c, "\x01a", 0x94, 0x8f, "(K\x01K\x02", 0x90, "(N", 0x91, 0x8e, "\x02\0\0\0\0\0\0\0xy", 0x96, "\x01\0\0\0\0\0\0\0z", 0x8c, "\x0bcollections", 0x8c, "\x0bOrderedDict", 0x93, ")}", 0x92, "C\x01xh\0]Na", 0x8b, "\x02\0\0\0\x01\x02", "t"]); // prettier-ignore
  return {
    safetensors: [
      await written((path) => writeSafetensors(path, tensors, { format: "pt" })),
      await written((path) => writeSafetensors(path, { x: { shape: [], data: Float64Array.of(1) } })),
    ],
    npy: [
      npy,
      replaced("'<i2'", "'>i2'"),
      replaced("False", "True "),
      await written((path) => writeNpy(path, { shape: [], data: f32.slice(1, 2) })),
    ],
    npz: [
      await npz(true),
      await npz(false),
      withoutCrc(await zipOf({ "a.npy": npy }, { zip64: true, compress: true })),
    ],
    torch: [
      archive,
      await torch(true),
      withoutCrc(await zipOf({ "x/data.pkl": pickle, "x/byteorder": "big", ...records }, { compress: true })),
    ],
    legacy: [
      ...["saved.pt", "views.pt"].map((name) => readFileSync(new URL(`legacy/${name}`, import.meta.url))),
      legacyOf([pickle.subarray(2, -1).toString("latin1")], storages),
    ],
    pickle: [pickle, late],
  };
}

/** What any persistent id stands for: 24 bytes that are never read. */
const STORAGE = new TorchStorage(
  ByteSource.of(new Uint8Array(24)),
  { sizeBytes: 24, read: async () => new Uint8Array(24) },
  "0",
  "float32",
);

const readTorch = async (bytes: Uint8Array): Promise<void> => {
  const file = await TorchFile.from(ByteSource.of(bytes));
  for (const tensor of tensorsIn(file.value)) if (tensor.elements < 1e6) await tensor.read();
};

type Read = (bytes: Uint8Array) => Promise<void>;

const READ: Record<string, Read> = {
  safetensors: async (bytes) => {
    const file = await SafetensorsFile.from(ByteSource.of(bytes));
    for (const name of file.names) await file.readFloat32(name);
  },
  npy: async (bytes) => void (await readNpyFrom(ByteSource.of(bytes))),
  npz: async (bytes) => {
    const file = await NpzFile.from(ByteSource.of(bytes));
    for (const name of file.names) await file.read(name, 2 ** 26);
    await readNpzFrom(ByteSource.of(bytes), { maxBytes: 2 ** 26 });
  },
  torch: readTorch,
  legacy: readTorch,
  pickle: async (bytes) => {
    const fail = (problem: string): Error => new FormatError("x", problem);
    const options = {
      findGlobal: findTorchGlobal,
      build: buildTorchObject,
      persistentLoad: () => STORAGE,
      fail,
    };
    checkTree(unpickle(bytes, options), () => [], fail);
  },
};

/** All tensors, by the plainest recursion: what the reader promises is possible. */
function tensorsIn(value: unknown): TorchTensor[] {
  if (value instanceof TorchTensor) return [value];
  if (value instanceof Map) return [...(value as Map<unknown, unknown>).values()].flatMap(tensorsIn);
  return Array.isArray(value) ? (value as unknown[]).flatMap(tensorsIn) : [];
}

/** Files per format: 170,000 in all, in ten seconds on an idle machine. */
const COUNTS = {
  safetensors: 30_000,
  npy: 20_000,
  npz: 20_000,
  torch: 30_000,
  legacy: 20_000,
  pickle: 50_000,
} as const;

describe(`damaged files (seed ${SEED})`, () => {
  let files: Awaited<ReturnType<typeof corpus>>;
  beforeAll(async () => (files = await corpus()));

  test.each(Object.entries(COUNTS))(
    "of %s: %d are read or refused",
    async (format, count) => {
      const parsers = [READ[format] as Read];
      if (format !== "pickle") parsers.push(async (bytes) => void (await openArtifactFrom(ByteSource.of(bytes))));
      const next = random(SEED + format.length * 7919);
      const originals = files[format as keyof typeof files];
      for (const original of originals) await READ[format]?.(original); // undamaged, each is read
      const before = process.memoryUsage().rss;
      let [read, refused, slowest, peak] = [0, 0, 0, 0];
      for (let i = 0; i < (EXPLORE || count); i++) {
        const bytes = mutate(originals, next);
        const started = performance.now();
        try {
          await parsers[i % 8 === 7 ? parsers.length - 1 : 0]?.(bytes);
          read++;
        } catch (error) {
          if (!(error instanceof FormatError))
            throw new Error(`file ${i}, ${Buffer.from(bytes).toString("base64")}`, { cause: error });
          refused++;
        }
        slowest = Math.max(slowest, performance.now() - started);
        if (i % 500 === 0) peak = Math.max(peak, process.memoryUsage().rss - before);
      }
      expect(slowest).toBeLessThan(TIME_MS);
      expect(peak).toBeLessThan(MEMORY_BYTES);
      // Both happen, or the damage is too coarse to reach anything, or is none.
      expect(read).toBeGreaterThan((EXPLORE || count) / 100);
      expect(refused).toBeGreaterThan((EXPLORE || count) / 10);
    },
    3_600_000,
  );
});
