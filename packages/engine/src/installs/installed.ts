import { createHash } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { installFolder } from "./folder.js";

/** What an installation says of itself, in its folder. Its presence means that it is whole. */
export const INSTALLED_FILE = "installed.json";

/** What lies in that file. */
export interface Installed {
  readonly name: string;
  /** `openvino==2026.4.1` */
  readonly wheels: readonly string[];
  /** `node-api-headers@1.9.0` */
  readonly npm: readonly string[];
  /** The digest of each of them, by that name: which of a version's files it was. */
  readonly digests: Readonly<Record<string, string>>;
}

/** A runtime that npm's lock file does not fix, as it is on this machine. */
export interface Runtime {
  /** Its version, and a digest of all that it consists of; undefined if it is not there. */
  readonly version?: string;
  /** Where it is looked for, whether or not there is something. Another content of these is another runtime. */
  readonly places: readonly string[];
}

const DIGEST_LENGTH = 12;

/** What is installed in a folder of engines under a name, if it is whole. */
export function readInstalled(folder: string): Installed | undefined {
  try {
    const {
      name,
      wheels,
      npm,
      digests = {},
    } = JSON.parse(readFileSync(join(folder, INSTALLED_FILE), "utf8")) as Installed;
    return { name, wheels: [...wheels], npm: [...npm], digests };
  } catch {
    return undefined;
  }
}

/**
 * An engine that `madformer engines install` laid into its folder: `openvino==2026.4.1 2d22b1da03f7`.
 *
 * @param wheel What the name of the wheel begins with that holds its library.
 */
export function installedRuntime(name: string, wheel: string): Runtime {
  const places = [join(installFolder(name), INSTALLED_FILE)];
  const installed = readInstalled(installFolder(name));
  if (installed === undefined) return { places };
  const { wheels, npm, digests } = installed;
  const parts = [...wheels, ...npm].sort().map((part) => [part, digests[part] ?? ""]);
  const digest = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, DIGEST_LENGTH);
  return { version: `${wheels.find((one) => one.startsWith(wheel)) ?? name} ${digest}`, places };
}

/**
 * A package of npm's that no `package.json` of the project asks for, and the native library that it fetched for
 * itself: `@tensorflow/tfjs-node@4.22.0 libtensorflow.so.2.9.1`.
 *
 * @param library That library, in the package.
 */
export function packageRuntime(name: string, library: string): Runtime {
  const require = createRequire(import.meta.url);
  const folders = (require.resolve.paths(name) ?? []).map((folder) => join(folder, name));
  const places: string[] = [];
  for (const folder of folders) {
    const file = join(folder, "package.json");
    places.push(file);
    try {
      const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
      return { version: [`${name}@${version}`, ...nameOf(join(folder, library))].join(" "), places };
    } catch {
      continue; // not in this one
    }
  }
  return { places };
}

/** A library's own name: links lead to it that bear no version. */
function nameOf(path: string): string[] {
  try {
    return [basename(realpathSync(path))];
  } catch {
    return [];
  }
}

/** The first of several that is there; another one before it would be another runtime. */
export function firstRuntime(candidates: readonly Runtime[]): Runtime {
  const at = candidates.findIndex(({ version }) => version !== undefined);
  const looked = at < 0 ? candidates : candidates.slice(0, at + 1);
  const { version } = looked.at(-1) ?? {};
  return { ...(version === undefined ? {} : { version }), places: looked.flatMap(({ places }) => places) };
}
