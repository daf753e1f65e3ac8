import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** An engine that `madformer engines install` can fetch. */
export interface Installable {
  readonly name: string;
  readonly summary: string;
  /** What whoever installs it agrees to. */
  readonly license: string;
  /** pip's words for the platform that the wheels are of. */
  readonly wheels: readonly string[];
  /** Node's words for machines that it runs on: `linux-x64`. */
  readonly machines: readonly string[];
  readonly downloadBytes: number;
  readonly installedBytes: number;
  /** Packages of npm's that go along, by name and version, with their integrity. */
  readonly npm: Readonly<Record<string, string>>;
  /** Whether tfjs-node's addon is built against it, which takes a C++ compiler. */
  readonly builds: boolean;
}

/** A file of `engines/`, beside the package's sources. */
const fileOf = (name: string): string => fileURLToPath(new URL(`../../engines/${name}`, import.meta.url));

const CPYTHON_311 = ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"];
const NPM = JSON.parse(readFileSync(fileOf("npm.json"), "utf8")) as Record<string, string>;
const MB = 10 ** 6;
const manylinux = (version: string): string[] => ["--platform", `manylinux${version}_x86_64`];
const NVIDIA_LICENSE = "the nvidia-* wheels: NVIDIA's own (proprietary, docs.nvidia.com/cuda/eula)";
/** NVIDIA's wheels are for several: pip takes each that is asked for. */
const NVIDIA_PLATFORMS = ["_2_27", "_2_25", "_2_17", "2014"].flatMap(manylinux);

/** Engines that npm does not bring, in the order of their table. Another one is an entry and a file of requirements. */
export const INSTALLABLE: readonly Installable[] = [
  {
    name: "openvino",
    summary: "OpenVINO 2026.4, for bfloat16 on CPUs that have it",
    license: "Apache-2.0",
    wheels: [...CPYTHON_311, ...manylinux("_2_28")],
    machines: ["linux-x64"],
    downloadBytes: 60 * MB,
    installedBytes: 190 * MB,
    npm: {},
    builds: false,
  },
  {
    name: "xla-cpu",
    summary: "XLA of jaxlib 0.11.2 for CPUs, for the engine xla: for tests",
    license: "Apache-2.0",
    wheels: [...CPYTHON_311, "--abi", "none", ...manylinux("_2_27")],
    machines: ["linux-x64"],
    downloadBytes: 63 * MB,
    installedBytes: 203 * MB,
    npm: {},
    builds: false,
  },
  {
    name: "xla-cuda13",
    summary: "XLA of jaxlib 0.11.2 for NVIDIA GPUs with CUDA 13, for the engine xla",
    license: `Apache-2.0; ${NVIDIA_LICENSE}`,
    wheels: [...CPYTHON_311, "--abi", "none", ...NVIDIA_PLATFORMS],
    machines: ["linux-x64"],
    downloadBytes: 2481 * MB,
    installedBytes: 4026 * MB,
    npm: {},
    builds: false,
  },
  {
    name: "xla-cuda12",
    summary: "XLA of jaxlib 0.11.2 for NVIDIA GPUs with CUDA 12, for the engine xla",
    license: `Apache-2.0; ${NVIDIA_LICENSE}`,
    wheels: [...CPYTHON_311, "--abi", "none", ...NVIDIA_PLATFORMS],
    machines: ["linux-x64"],
    downloadBytes: 3208 * MB,
    installedBytes: 5181 * MB,
    npm: {},
    builds: false,
  },
  {
    name: "xla-rocm7",
    summary: "XLA of jaxlib 0.11.2 for AMD GPUs, for the engine xla; ROCm 7 itself is the system's",
    license: "Apache-2.0",
    wheels: [...CPYTHON_311, "--abi", "none", ...manylinux("_2_27")],
    machines: ["linux-x64"],
    downloadBytes: 150 * MB,
    installedBytes: 600 * MB,
    npm: {},
    builds: false,
  },
  {
    name: "tensorflow",
    summary: "TensorFlow 2.21 for CPUs, under tfjs-node 4.22",
    license: "Apache-2.0",
    wheels: [...CPYTHON_311, ...manylinux("_2_27")],
    machines: ["linux-x64"],
    downloadBytes: 276 * MB,
    installedBytes: 1400 * MB,
    npm: NPM,
    builds: true,
  },
  {
    name: "tensorflow-cuda",
    summary: "TensorFlow 2.21 for NVIDIA GPUs, under tfjs-node 4.22",
    license: `Apache-2.0; ${NVIDIA_LICENSE}`,
    wheels: [...CPYTHON_311, "--abi", "none", ...NVIDIA_PLATFORMS],
    machines: ["linux-x64"],
    downloadBytes: 3200 * MB,
    installedBytes: 7000 * MB,
    npm: NPM,
    builds: true,
  },
];

/** Wheels with exact versions and their digests. */
export interface Requirement {
  /** `openvino==2026.4.1` */
  readonly wheel: string;
  readonly sha256: readonly string[];
  /** As pip reads it. */
  readonly line: string;
}

/**
 * What the requirement file of an engine lists.
 *
 * @throws {SyntaxError} If a line has no exact version or no digest.
 */
export function requirementsOf({ name }: Pick<Installable, "name">): Requirement[] {
  return parseRequirements(readFileSync(fileOf(`${name}.txt`), "utf8"), `engines/${name}.txt`);
}

export function parseRequirements(text: string, file: string): Requirement[] {
  const lines = text.replace(/\\\r?\n/g, " ").split(/\r?\n/);
  return lines.flatMap((raw) => {
    const line = raw.replace(/(^|\s)#.*$/, "").trim();
    if (line === "") return [];
    const [, wheel] = /^([A-Za-z0-9][\w.-]*==[\w.]+)(\s+--hash=sha256:[0-9a-f]{64})+$/.exec(line) ?? [];
    if (wheel === undefined)
      throw new SyntaxError(
        `Cannot read ${file}: found ${JSON.stringify(line)}, expected name==version --hash=sha256:...`,
      );
    return [
      { wheel, sha256: [...line.matchAll(/sha256:([0-9a-f]{64})/g)].map(([, digest]) => digest as string), line },
    ];
  });
}
