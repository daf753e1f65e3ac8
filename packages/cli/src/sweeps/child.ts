import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** So many of its last lines tell why a stage failed. */
const TAIL = 1;

/**
 * Runs a stage of a pipeline's folder in a process of its own, whose lines are shown behind a title. Its process
 * group is its own, too: Ctrl-C on the terminal reaches this process alone, which passes it on once.
 *
 * @throws With the stage's last line, if it fails; `signal.reason` if aborted, when the stage has saved what it
 *   needs to go on.
 */
export async function runStageProcess(
  folder: string,
  stage: string,
  { say, signal }: { readonly say: (line: string) => void; readonly signal: AbortSignal },
): Promise<void> {
  const child = spawn(process.execPath, ["--no-warnings", "tools/pipelines/stage.mjs", folder, stage], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const tail: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream, crlfDelay: Infinity }).on("line", (line) => {
      tail.push(line);
      if (tail.length > TAIL) tail.shift();
      say(line);
    });
  const stop = (): void => void child.kill("SIGTERM");
  const end = (): void => void child.kill("SIGKILL"); // this process ends at once: nobody would stop it any more
  signal.addEventListener("abort", stop, { once: true });
  process.once("exit", end);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", resolve);
    });
    signal.throwIfAborted();
    if (code !== 0) throw new Error(tail.at(-1)?.replace(/^[^:]*: /, "") ?? `it ended with exit code ${code}`);
  } finally {
    signal.removeEventListener("abort", stop);
    process.off("exit", end);
  }
}
