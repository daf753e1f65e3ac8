import { closeSync, openSync, readSync } from "node:fs";

/** Machines by their number in the head of an ELF file, in Node's words where it has one. */
const MACHINES: Readonly<Record<number, string>> = { 3: "ia32", 40: "arm", 62: "x64", 183: "arm64", 243: "riscv64" };

/**
 * Looks whether a library is for this machine: of one that is not, Linux' loader says that there is no such file.
 *
 * @throws {Error} If it is none: for which it is, and which this is.
 */
export function requireSameMachine(path: string): void {
  const machine = machineOf(path);
  if (machine === undefined || machine === process.arch) return;
  throw new Error(`Cannot load ${JSON.stringify(path)}: it is for ${machine}, and this machine is ${process.arch}`);
}

/** For which machine an ELF file is; of others nothing is said. */
function machineOf(path: string): string | undefined {
  const head = Buffer.alloc(20);
  try {
    const file = openSync(path, "r");
    try {
      if (readSync(file, head, 0, head.length, 0) < head.length) return undefined;
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined; // which the loader says better
  }
  if (head.toString("latin1", 0, 4) !== "\x7fELF") return undefined;
  const number = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18);
  return MACHINES[number] ?? `machine ${number}`;
}
