import { verifyRemote, type Made, type Store } from "@madformer/artifacts";
import { openLog, outputFolder, readOutput, type Pipeline } from "@madformer/stage";
import { ExitCode } from "../exit.js";
import type { Io } from "../program.js";
import { requireRemote } from "./open.js";

export interface VerifyThere {
  readonly root: string;
  readonly store: Store;
  readonly pipelines: readonly Pipeline[];
  readonly stage: string | undefined;
  readonly whole: boolean;
  readonly deep: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** `madformer verify --remote`: whether what the remote store names is there. */
export async function verifyThere(asked: VerifyThere, io: Io): Promise<void> {
  const { root, store, pipelines, stage, whole, deep, dryRun, json } = asked;
  const made = await shownBy(pipelines, stage);
  await using remote = await requireRemote(root, store, io);
  using log = openLog({ name: "verify", ...(io.stream && { stream: io.stream }) });
  const onProgress = (done: number): void => {
    if (deep && !json) log.progress("MiB", Math.round(done / 2 ** 20), Math.round(done / 2 ** 20) + 1);
  };
  const found = await verifyRemote(remote, { store, made, whole, deep, dryRun, onProgress });
  const open = found.findings.filter(({ mended }) => mended === undefined);
  if (json) io.out(`${JSON.stringify({ remote: remote.name, ...found }, null, 2)}\n`);
  else {
    for (const { where, problem, mended } of found.findings)
      io.out(
        `${mended === undefined ? "!" : "+"} ${remote.name}/${where}: ${problem}${mended === undefined ? "" : `; ${mended}`}\n`,
      );
    const how = deep ? "read and hashed" : "by size; --deep reads them";
    io.out(
      `Looked at ${found.keys} keys and ${found.objects} objects (${(found.bytes / 2 ** 20).toFixed(1)} MiB, ${how}) of ${remote.name}: ` +
        `${found.findings.length === 0 ? "nothing is wrong" : `${open.length} wrong, ${found.findings.length - open.length} mended`}\n`,
    );
  }
  if (open.length > 0) throw new ExitCode(1);
}

async function shownBy(pipelines: readonly Pipeline[], only: string | undefined): Promise<Made[]> {
  const found: Made[] = [];
  for (const { folder, stages } of pipelines)
    for (const { name } of stages) {
      const made = only === undefined || only === name ? await readOutput(outputFolder(folder, name)) : undefined;
      if (made) found.push(made);
    }
  return found;
}
