/** Which version of an engine programs get, of those that npm's lock file does not fix. Nothing is loaded. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { computing } from "@madformer/engine";
import { firstRuntime, packageRuntime } from "../src/installs/installed.js";

const before = process.env["MADFORMER_ENGINES"];
let folder = "";
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "installed-")));
  process.env["MADFORMER_ENGINES"] = folder;
});
afterEach(async () => {
  if (before === undefined) delete process.env["MADFORMER_ENGINES"];
  else process.env["MADFORMER_ENGINES"] = before;
  await rm(folder, { recursive: true, force: true });
});

async function install(name: string, digests: Record<string, string>): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  const wheels = Object.keys(digests);
  await writeFile(join(folder, name, "installed.json"), JSON.stringify({ name, wheels, npm: [], digests }));
}

const versionOf = (engine: string): string | undefined => computing.choose({ engine }).version;

describe("computing.choose()", () => {
  test("names version and digest of an engine that was installed, and none of those of npm", async () => {
    expect(versionOf("openvino")).toBeUndefined();
    await install("openvino", { "openvino==2026.4.1": "a" });
    const first = versionOf("openvino");
    expect(first).toMatch(/^openvino==2026\.4\.1 [0-9a-f]{12}$/);
    await install("openvino", { "openvino==2026.4.1": "b" }); // another file of the same version
    const second = versionOf("openvino");
    expect(second).toMatch(/^openvino==2026\.4\.1 [0-9a-f]{12}$/);
    expect(second).not.toBe(first);
    await install("openvino", { "openvino==2026.4.2": "b" });
    expect(versionOf("openvino")).toMatch(/^openvino==2026\.4\.2 /);
    expect(computing.choose({ engine: "onnx" })).toEqual({ engine: "onnx", precision: "float32" });
    expect(computing.choose({ engine: "cpu" })).toEqual({ engine: "cpu", precision: "float32" });
    // No library lies there that would say that the processor has none.
    expect(computing.choose({ engine: "openvino", precision: "bf16", threads: 2 })).toEqual({
      ...{ engine: "openvino", precision: "bf16", threads: 2 },
      version: versionOf("openvino"),
    });
  });

  test("names the wheel that holds the library, and changes with each of the others", async () => {
    const nvidia = { "nvidia-cublas-cu12==12.9": "c" };
    await install("tensorflow-cuda", { ...nvidia, "tensorflow==2.21.0": "a" });
    const first = versionOf("tensorflow");
    expect(first).toMatch(/^tensorflow==2\.21\.0 /);
    await install("tensorflow", { "tensorflow-cpu==2.21.0": "a" }); // the first that is there is taken
    expect(versionOf("tensorflow")).toBe(first);
    await install("tensorflow-cuda", { "nvidia-cublas-cu12==12.8": "c", "tensorflow==2.21.0": "a" });
    expect(versionOf("tensorflow")).not.toBe(first);
    await rm(join(folder, "tensorflow-cuda"), { recursive: true });
    expect(versionOf("tensorflow")).toMatch(/^tensorflow-cpu==2\.21\.0 /);
  });

  test("takes an installation that is not whole for none", async () => {
    await mkdir(join(folder, "openvino"));
    await writeFile(join(folder, "openvino", "installed.json"), "{");
    expect(versionOf("openvino")).toBeUndefined();
  });
});

describe("computing.places()", () => {
  test("are the files that decide, those that are not there yet among them", async () => {
    const file = (name: string): string => join(folder, name, "installed.json");
    expect(computing.places({ engine: "openvino" })).toEqual([file("openvino")]);
    const all = computing.places({ engine: "tensorflow" });
    expect(all.slice(0, 2)).toEqual([file("tensorflow-cuda"), file("tensorflow")]);
    expect(all.slice(2).join()).toContain(join("node_modules", "@tensorflow/tfjs-node-gpu", "package.json"));
    await install("tensorflow-cuda", { "tensorflow==2.21.0": "a" });
    expect(computing.places({ engine: "tensorflow" })).toEqual([file("tensorflow-cuda")]);
    expect([{}, { engine: "onnx" }, { engine: "none" }].map((words) => computing.places(words))).toEqual([[], [], []]);
  });
});

describe("computing.within()", () => {
  test("refuses what was computed while another version was installed", async () => {
    await install("openvino", { "openvino==1": "a" });
    const choice = computing.choose({ engine: "openvino" });
    expect(await computing.within(choice, () => Promise.resolve(3))).toBe(3);
    await expect(computing.within(choice, () => install("openvino", { "openvino==2": "a" }))).rejects.toThrow(
      /^the engine "openvino" was openvino==1 \w{12} and is openvino==2 \w{12} now: it changed while it was in use$/,
    );
  });
});

describe("packageRuntime()", () => {
  test("is a package's version and its library's name, and places up to the package", () => {
    const { version, places } = packageRuntime("onnxruntime-node", "package.json");
    expect(version).toMatch(/^onnxruntime-node@\d+\.\d+\.\d+ package\.json$/);
    expect(places.at(-1)).toMatch(/onnxruntime-node.package\.json$/);
    const none = packageRuntime("@madformer/no-such", "x");
    expect([none.version, none.places.length > 1]).toEqual([undefined, true]);
    expect(firstRuntime([none, { version: "a", places: ["x"] }, { version: "b", places: ["y"] }])).toEqual({
      version: "a",
      places: [...none.places, "x"],
    });
  });
});
