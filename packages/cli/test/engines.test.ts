/** Engines are fetched with a pip that is a script of ours: what is tested is what happens around it. */
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseRequirements, requirementsOf, INSTALLABLE } from "../src/engines/catalog.js";
import { installEngine, removeEngine } from "../src/engines/install.js";
import { madformer } from "../src/testing.js";

const ENV = ["MADFORMER_ENGINES", "MADFORMER_PYTHON", "MADFORMER_PJRT_PLUGIN", "CXX"] as const;
const before = Object.fromEntries(ENV.map((name) => [name, process.env[name]]));
let folder = "";

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "engines-")));
  process.env["MADFORMER_ENGINES"] = join(folder, "engines");
  delete process.env["MADFORMER_PJRT_PLUGIN"];
});

afterEach(async () => {
  for (const name of ENV) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  await rm(folder, { recursive: true, force: true });
});

const [openvino] = INSTALLABLE as [(typeof INSTALLABLE)[number]];
const here = { ...openvino, machines: [`${process.platform}-${process.arch}`], installedBytes: 1, downloadBytes: 1 };

/** A Python that logs what it is asked; `pip download` writes a file, `zipfile` unpacks it to `openvino/lib`. */
async function fakePython(wheel: string): Promise<void> {
  const path = join(folder, "python");
  const script = `#!${process.execPath}
const { appendFileSync, mkdirSync, readFileSync, writeFileSync } = require("node:fs");
const args = process.argv.slice(2);
appendFileSync(${JSON.stringify(join(folder, "log"))}, args.slice(0, 3).join(" ") + "\\n");
if (args.includes("download")) {
  if (${JSON.stringify(wheel)} === "") { console.error("ERROR: No matching distribution\\n"); process.exit(1); }
  const list = readFileSync(args[args.indexOf("-r") + 1], "utf8");
  if (!args.includes("--require-hashes") || !list.includes("--hash=sha256:")) process.exit(3);
  writeFileSync(args[args.indexOf("-d") + 1] + "/it.whl", ${JSON.stringify(wheel)});
}
if (args.includes("zipfile")) { mkdirSync(args[4] + "/openvino"); writeFileSync(args[4] + "/openvino/lib", "x"); }
`;
  await writeFile(path, script);
  await chmod(path, 0o755);
  process.env["MADFORMER_PYTHON"] = path;
}

const log = async (): Promise<string[]> => (await readFile(join(folder, "log"), "utf8")).trim().split("\n");

test("each engine's file of requirements names exact versions with digests", () => {
  for (const engine of INSTALLABLE) expect(requirementsOf(engine).length).toBeGreaterThan(0);
  expect(() => parseRequirements("openvino>=2026\n", "x.txt")).toThrow(
    new SyntaxError('Cannot read x.txt: found "openvino>=2026", expected name==version --hash=sha256:...'),
  );
});

test("says before anything is fetched what is missing: a compiler, a Python, another machine, room", async () => {
  await fakePython("");
  process.env["CXX"] = join(folder, "no-compiler");
  const built = { ...here, name: "tensorflow", builds: true };
  const engines = join(folder, "engines");
  const options = { engines, say: () => undefined };
  await expect(installEngine(built, options)).rejects.toThrow(
    `Cannot install tensorflow: it needs a C++ compiler, and ${JSON.stringify(process.env["CXX"])} does not answer; CXX can name another`,
  );
  await expect(installEngine({ ...here, machines: ["plan9-mips"] }, options)).rejects.toThrow(
    `this machine is ${process.platform}-${process.arch}, expected plan9-mips`,
  );
  await expect(installEngine({ ...here, installedBytes: 2 ** 60 }, options)).rejects.toThrow(
    /^Cannot install openvino: it needs \d+ bytes, and .* has room for \d+$/,
  );
  expect((await log()).filter((line) => line.includes("download"))).toEqual([]);
});

test("a file that is not what its digest says is not installed, and what pip says is passed on", async () => {
  await fakePython("something else");
  const options = { engines: join(folder, "engines"), say: () => undefined };
  await expect(installEngine(here, options)).rejects.toThrow(
    /^Cannot install openvino: pip fetched openvino==.*no file/,
  );
  await fakePython("");
  await expect(installEngine(here, options)).rejects.toThrow("could not be fetched: ");
  await expect(installEngine(here, options)).rejects.toThrow("ERROR: No matching distribution");
  expect(await readdir(join(folder, "engines"))).toEqual(["downloads"]);
});

test("goes on with wheels that are whole, unpacks into place, and removes what it fetched", async () => {
  const engines = join(folder, "engines");
  const sha256 = requirementsOf(openvino).flatMap((one) => one.sha256);
  // Nothing here has the real digest, so the file that is there already is found by asking for its own.
  const wheel = "a wheel";
  const digest = createHash("sha256").update(wheel).digest("hex");
  expect(sha256).not.toContain(digest);
  await fakePython("");
  await mkdir(join(engines, "downloads"), { recursive: true });
  await writeFile(join(engines, "downloads", "it.whl"), wheel);
  const requirements = [{ wheel: "openvino==1", sha256: [digest], line: `openvino==1 --hash=sha256:${digest}` }];
  const said: string[] = [];
  await installEngine(here, { engines, say: (line) => said.push(line), requirements });
  expect(said).toEqual(["unpacking it.whl"]);
  expect(await readFile(join(engines, "openvino", "openvino", "lib"), "utf8")).toBe("x");
  expect(JSON.parse(await readFile(join(engines, "openvino", "installed.json"), "utf8"))).toEqual({
    ...{ name: "openvino", wheels: ["openvino==1"], npm: [] },
    digests: { "openvino==1": digest },
  });
  expect(await readdir(join(engines, "downloads"))).toEqual([]);
  expect(await removeEngine("openvino", engines)).toBe(true);
  expect(await removeEngine("openvino", engines)).toBe(false);
  expect(await readdir(engines)).toEqual(["downloads"]);
});

test("the table has every engine, and of those that cannot be used why not and what to do", async () => {
  const { code, out } = await madformer("engines");
  expect(code).toBe(0);
  expect(out).toMatch(/^engine +version +devices +precisions +usable\nonnx +1\./);
  expect(out).toContain("openvino: OpenVINO is not installed; madformer engines install openvino installs it\n");
  expect(out).toContain("xla: no PJRT plugin is installed; madformer engines install xla-cpu (or xla-cuda13, ");
  expect(out).toContain(
    "Can be installed: openvino, xla-cpu, xla-cuda13, xla-cuda12, xla-rocm7, tensorflow, tensorflow-cuda",
  );
  const { engines } = JSON.parse((await madformer("engines", "--json")).out) as { engines: { name: string }[] };
  expect(engines.map(({ name }) => name)).toContain("cpu");
});

test("a library that is none is named with what to do", async () => {
  const libs = join(folder, "engines", "openvino", "openvino", "libs");
  await mkdir(libs, { recursive: true });
  await writeFile(join(libs, "libopenvino_c.so.1"), "no library");
  const { code, out } = await madformer("engines");
  expect(code).toBe(0);
  expect(out).toMatch(
    /openvino: Cannot load ".*libopenvino_c\.so\.1.*; madformer engines install openvino installs it anew\n/,
  );
});

test("an engine that there is not is suggested, and --dry-run fetches nothing but says the licence", async () => {
  expect(await madformer("engines", "install", "openvin")).toMatchObject({
    code: 2,
    err: 'Cannot find the engine "openvin", expected one of: openvino, xla-cpu, xla-cuda13, xla-cuda12, xla-rocm7, tensorflow, tensorflow-cuda; did you mean openvino?\n',
  });
  const { code, err } = await madformer("engines", "install", "openvino", "--dry-run");
  expect(code).toBe(0);
  expect(err).toMatch(/Licence: Apache-2\.0\.\nopenvino==\d/);
});
