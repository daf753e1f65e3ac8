import { randomBytes } from "node:crypto";
import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import { z } from "zod";

/** Text that a terminal may show: a lock file may have been written by anybody. */
export const Printable = z
  .string()
  .max(256)
  .regex(/^\P{C}*$/u);

/** What a lock file says: which process holds the lock. Locks written by hand may lack what is optional. */
export const Holder = z.object({
  // kill(0) and kill(-1) mean whole groups of processes, and process.kill() takes 32 bits.
  pid: z
    .int()
    .positive()
    .max(2 ** 31 - 1),
  host: Printable,
  started: Printable.describe("When the process started, in the kernel's clock ticks; empty where that is not known"),
  boot: Printable.optional().describe("Which start of the machine, where the kernel names it"),
  pidNamespace: Printable.optional().describe("Which processes see each other's numbers, where the kernel names it"),
  token: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional()
    .describe("Random: tells this lock from any other, of the same process too"),
});
export type Holder = z.infer<typeof Holder>;

/** The name of this machine, as files may hold it. */
export const machineName = (): string => hostname().replace(/\p{C}/gu, "?");

/** This process as the holder of a new lock. */
export async function newHolder(): Promise<Holder & { readonly token: string }> {
  const [boot, pidNamespace] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => undefined),
    readlink("/proc/self/ns/pid").catch(() => undefined),
  ]);
  // In a pid namespace whose /proc is still the outer one, numbers in /proc mean other processes.
  const seesItself = (await readlink("/proc/self").catch(() => undefined)) === String(process.pid);
  return {
    pid: process.pid,
    host: machineName(),
    started: (seesItself ? await startOf(process.pid) : undefined) ?? "",
    ...(boot === undefined ? {} : { boot: boot.trim() }),
    ...(pidNamespace === undefined ? {} : { pidNamespace }),
    token: randomBytes(16).toString("hex"),
  };
}

/** Whether a process number of `holder` means the same process here: same machine, same boot, same pid namespace. */
export function sharesProcesses(holder: Holder, me: Holder): boolean {
  if (holder.host !== me.host) return false;
  if (holder.token === undefined) return true; // written by hand, or before locks named more than the host
  return holder.boot === me.boot && holder.pidNamespace === me.pidNamespace;
}

/**
 * Whether the process of a lock lives: its number is looked up, and the time it started, because numbers are used
 * again, by other users' processes too. "unknown" for one that cannot be looked up (another machine, boot or pid
 * namespace) or cannot be told from a later process of its number (there is no /proc, or it hides that process).
 */
export async function lifeOf(holder: Holder, me: Holder): Promise<"alive" | "dead" | "unknown"> {
  if (!sharesProcesses(holder, me)) return "unknown";
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ESRCH") return "dead";
    if (code !== "EPERM") return "unknown";
  }
  if (me.started === "") return "unknown";
  const started = await startOf(holder.pid);
  if (started === "ended") return "dead";
  if (started === undefined || holder.started === "") return "unknown";
  return started === holder.started ? "alive" : "dead";
}

/** When a process started, in the kernel's clock ticks; "ended" for a zombie; undefined where /proc does not say. */
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields?.[0] === "Z" || fields?.[0] === "X" ? "ended" : fields?.[19];
}
