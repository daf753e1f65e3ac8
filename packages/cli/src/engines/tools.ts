import { spawn } from "node:child_process";

/** A program that an installation needs, and where it is named if it is not the usual one. */
export interface Tool {
  readonly name: string;
  readonly variable: string;
  readonly program: string;
}

export const python = (): Tool => tool("Python 3 with pip", "MADFORMER_PYTHON", "python3");
export const compiler = (): Tool => tool("a C++ compiler", "CXX", "g++");
export const npm = (): Tool => tool("npm", "MADFORMER_NPM", "npm");

function tool(name: string, variable: string, usual: string): Tool {
  return { name, variable, program: process.env[variable] || usual };
}

/** The last lines that a program wrote. */
const TAIL = 4096;

/**
 * Runs a program without a shell.
 *
 * @param onLine Told of each line that it writes.
 * @returns What it wrote to standard output.
 * @throws {Error} If it cannot be started or fails: its name, and what it said last.
 */
export async function runTool(
  { program }: Pick<Tool, "program">,
  args: readonly string[],
  options: { readonly cwd?: string; readonly signal?: AbortSignal; readonly onLine?: (line: string) => void } = {},
): Promise<string> {
  const { cwd, signal, onLine } = options;
  const child = spawn(program, args, { cwd, signal, stdio: ["ignore", "pipe", "pipe"] });
  let [out, tail] = ["", ""];
  const read = (text: string): void => {
    tail = (tail + text).slice(-TAIL);
    for (const line of text.split(/[\r\n]+/)) if (line.trim() !== "") onLine?.(line.trim());
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    read(text);
  });
  child.stderr.setEncoding("utf8").on("data", read);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code !== 0) throw new Error(`${program} ${args[0] ?? ""} failed: ${lastLine(tail) || `it ended with ${code}`}`);
  return out;
}

/** Whether a program is there and answers. */
export async function answers(tool: Tool, args: readonly string[]): Promise<boolean> {
  return runTool(tool, args).then(
    () => true,
    () => false,
  );
}

/** What a program said last: the error itself rather than advice that follows it. */
function lastLine(text: string): string {
  const lines = text.split(/[\r\n]+/).filter((line) => line.trim() !== "");
  return (lines.findLast((line) => /\berror\b/i.test(line)) ?? lines.at(-1) ?? "").trim().slice(0, 400);
}
