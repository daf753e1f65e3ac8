/** Plugins that cannot be used, and what is sent to those that can: no plugin is needed for these. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ortLibraryPath } from "../src/backends/onnx/ort-library.js";
import { encodeCompileOptions } from "../src/backends/xla/compile-options.js";
import { requireFits } from "../src/backends/xla/fits.js";
import { encodeNamedValues } from "../src/backends/xla/named-values.js";
import { addressOf, bytesAt, fixedBytes, Struct, textAt } from "../src/backends/xla/pjrt-struct.js";
import { CALLS, KNOWN_VERSION } from "../src/backends/xla/pjrt-table.js";
import { Plugin } from "../src/backends/xla/plugin.js";
import { findPlugin } from "../src/backends/xla/plugin-path.js";
import { xlaState } from "../src/backends/xla/state.js";

let folder = "";
const before = { ...process.env };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "xla-"));
});

afterEach(async () => {
  for (const name of ["MADFORMER_PJRT_PLUGIN", "MADFORMER_ENGINES"]) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  await rm(folder, { recursive: true, force: true });
});

/** The head of a 64-bit ELF file for a machine, and nothing behind it. */
function elf(machine: number): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.write("\x7fELF", "latin1");
  bytes.set([2, 1, 1], 4); // 64 bits, the smallest byte first, version 1
  bytes.writeUInt16LE(3, 16); // a shared object
  bytes.writeUInt16LE(machine, 18);
  return bytes;
}

/** A table of functions as a plugin has it, without one. */
function table(major: number, minor: number, slots = 138): { readonly bytes: Uint8Array; readonly address: bigint } {
  const bytes = fixedBytes(40 + 8 * slots);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(bytes.byteLength), true);
  view.setInt32(32, major, true);
  view.setInt32(36, minor, true);
  return { bytes, address: addressOf(bytes) };
}

describe("a plugin that cannot be used is named in one sentence:", () => {
  test("one that is not there", () => {
    const path = join(folder, "nothing.so");
    expect(() => Plugin.load(path)).toThrow(/^Cannot load ".*nothing\.so": .*(No such file|no such file|not found)/);
  });

  test("one that is no library", async () => {
    const path = join(folder, "text.so");
    await writeFile(path, "this is no library, however long it is: ".repeat(20));
    expect(() => Plugin.load(path)).toThrow(/^Cannot load ".*text\.so": [^\n]+$/);
  });

  test("one of another architecture, which the loader says is not there", async () => {
    const path = join(folder, "other.so");
    const [name, number] = process.arch === "arm64" ? (["x64", 62] as const) : (["arm64", 183] as const);
    await writeFile(path, elf(number));
    expect(() => Plugin.load(path)).toThrow(
      new Error(`Cannot load ${JSON.stringify(path)}: it is for ${name}, and this machine is ${process.arch}`),
    );
    await writeFile(path, elf(0x1234));
    expect(() => Plugin.load(path)).toThrow("it is for machine 4660, and");
  });

  test("a library that is no plugin", () => {
    const path = ortLibraryPath();
    expect(() => Plugin.load(path)).toThrow(
      `Cannot use ${JSON.stringify(path)}: it is no PJRT plugin, for it has no GetPjrtApi`,
    );
  });

  test("one of an older version, or of another", () => {
    const expected = `expected 0.${KNOWN_VERSION.oldest} or a later 0.x`;
    expect(() => Plugin.over("old.so", table(0, 40).address)).toThrow(
      new Error(`Cannot use "old.so": it speaks PJRT 0.40, ${expected}`),
    );
    expect(() => Plugin.over("new.so", table(1, 0).address)).toThrow(`it speaks PJRT 1.0, ${expected}`);
  });

  test("one whose table ends early, or has holes", () => {
    const { address, bytes } = table(0, KNOWN_VERSION.minor, 20);
    expect(() => Plugin.over("short.so", address)).toThrow(
      /^Cannot use "short\.so": its PJRT has no Error_Destroy, .*Client_Compile/,
    );
    new DataView(bytes.buffer).setBigUint64(0, 8n, true); // a size that is none
    expect(() => Plugin.over("short.so", address)).toThrow('Cannot use "short.so": its PJRT has no ');
  });

  test("and the list of engines says what to do", async () => {
    process.env["MADFORMER_ENGINES"] = folder;
    delete process.env["MADFORMER_PJRT_PLUGIN"];
    expect(findPlugin()).toBeUndefined();
    process.env["MADFORMER_PJRT_PLUGIN"] = join(folder, "text.so");
    await writeFile(join(folder, "text.so"), "text");
    expect(findPlugin()).toEqual({ path: join(folder, "text.so"), source: "MADFORMER_PJRT_PLUGIN" });
    expect(xlaState()).toEqual({
      devices: [],
      problem: expect.stringMatching(/^Cannot load ".*text\.so": /) as string,
    });
  });
});

describe("what is sent to a plugin", () => {
  test("compile options are XLA's message: any device, one replica, one partition, flags by name", () => {
    const build = "1a0f08ffffffffffffffffff0120012801";
    expect(Buffer.from(encodeCompileOptions()).toString("hex")).toBe(build);
    const hex = Buffer.from(encodeCompileOptions({ a: true, b: false, cd: "e" })).toString("hex");
    expect(hex).toBe([build, "3a070a016112021001", "3a070a016212021000", "3a090a02636412030a0165"].join(""));
  });

  test("settings are rows of 56 bytes with their names and values behind them", () => {
    const { bytes, count } = encodeNamedValues({ word: "text", whole: -3n, part: 0.5, yes: true });
    expect(count).toBe(4);
    const view = new DataView(bytes.buffer);
    const rows = [0, 56, 112, 168].map((row) => ({
      size: Number(view.getBigUint64(row, true)),
      name: textAt(view.getBigUint64(row + 16, true), Number(view.getBigUint64(row + 24, true))),
      type: view.getInt32(row + 32, true),
      length: Number(view.getBigUint64(row + 48, true)),
    }));
    expect(rows).toEqual([
      { size: 56, name: "word", type: 0, length: 4 },
      { size: 56, name: "whole", type: 1, length: 1 },
      { size: 56, name: "part", type: 3, length: 1 },
      { size: 56, name: "yes", type: 4, length: 1 },
    ]);
    expect(textAt(view.getBigUint64(40, true), 4)).toBe("text");
    expect(view.getBigInt64(96, true)).toBe(-3n);
    expect(view.getFloat32(152, true)).toBe(0.5);
    expect(view.getUint8(208)).toBe(1);
  });

  test("structures say their size, and more where the plugin is newer", () => {
    const plain = new Struct(CALLS.Buffer_ToHostBuffer, { dst_size: 7, src: 0xffff_ffff_ffff_fff0n });
    const sizeOf = ({ address }: { address: bigint }) => new BigUint64Array(bytesAt(address, 8).buffer)[0];
    expect(sizeOf(plain)).toBe(56n);
    expect(plain.number("dst_size")).toBe(7);
    expect(plain.pointer("src")).toBe(0xffff_ffff_ffff_fff0n);
    const slack = new Struct(CALLS.Buffer_IsDeleted, {}, 256);
    expect(sizeOf(slack)).toBe(281n);
    expect(slack.number("is_deleted")).toBe(0);
  });
});

test("a program that does not fit says what it needs, of what", () => {
  const GiB = 2 ** 30;
  const needs = { arguments: 10 * GiB, outputs: 9 * GiB, alias: 8 * GiB, temporary: 2 * GiB, code: 0 };
  expect(() => requireFits("train", needs, { used: GiB, limit: 13 * GiB })).not.toThrow();
  expect(() => requireFits("train", undefined, { used: 0, limit: 0 })).not.toThrow();
  expect(() => requireFits("train", needs, { used: GiB, limit: 12 * GiB })).toThrow(
    new RangeError(
      'Program "train" needs 13.0 GiB of the device\'s memory, which has 12.0 GiB (1.0 GiB in use): state and inputs ' +
        "10.0 GiB, results 9.0 GiB of which 8.0 GiB take the place of state, temporary 2.0 GiB",
    ),
  );
});
