import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { DataError, MANIFEST_FILE, openFile, openFolder, type Artifact } from "@madformer/artifacts";
import { assertMadeBy, ConfigError, STATE_FILE, type InputSpec } from "@madformer/stage";

/** How far and how widely is looked for an input that may be meant. */
const [DEPTH, MAX_FOLDERS] = [2, 200];
/** Hints in one message. */
const MAX_HINTS = 3;

/**
 * Opens the folder, or the file where the stage takes one, that a command names as an input.
 *
 * @param flag Of the option, without dashes.
 * @throws {ConfigError} If it is what another stage made, is not finished, or just holds folders one of which is meant:
 *   names those nearby that fit. {DataError} If it cannot be read.
 */
export async function openInput(folder: string, flag: string, input: InputSpec): Promise<Artifact> {
  const root = resolve(folder);
  const status = await stat(root).catch(() => undefined);
  const what = `--${flag}: ${JSON.stringify(folder)}`;
  if (status === undefined)
    throw new DataError(
      `Cannot open ${JSON.stringify(folder)} (--${flag}): there is no such folder${input.file === undefined ? "" : " or file"}${await hint(root, input)}`,
    );
  if (status.isFile() && input.file !== undefined && folder.endsWith(input.file)) return openFile(folder);
  const [made, begun] = await Promise.all([stageIn(join(root, MANIFEST_FILE)), stageIn(join(root, STATE_FILE))]);
  const stage = made ?? begun;
  try {
    if (stage !== undefined) assertMadeBy(what, input, stage);
  } catch (error) {
    throw new ConfigError(`${(error as Error).message}${await hint(root, input)}`);
  }
  if (begun !== undefined && made === undefined && !input.unfinished)
    throw new ConfigError(`${what} is not finished: give the command (madformer ${begun} ...) again that writes it`);
  if (status.isDirectory() && stage === undefined && (await holdsFoldersAlone(root))) {
    const below = await found(root, input, root);
    if (below.length > 0) throw new ConfigError(`${what} is not what a stage made${said(below)}`);
  }
  try {
    const artifact = await openFolder(folder);
    if (made !== undefined) return artifact;
    const whose = begun === undefined ? "and no stage made it" : `which stage "${begun}" did not come to`;
    return withHint(artifact, `${what} has no file`, async () => `, ${whose}${await hint(root, input)}`);
  } catch (error) {
    if (status.isDirectory()) throw error;
    throw new DataError(
      `Cannot open ${JSON.stringify(folder)} (--${flag}): it is a file, expected a folder${input.file === undefined ? "" : ` or a ${input.file} file`}${await hint(root, input)}`,
      { cause: error },
    );
  }
}

/** A folder that no stage made or finished: asked for a file that it has not, it says what may have been meant. */
function withHint(artifact: Artifact, hasNo: string, hint: () => Promise<string>): Artifact {
  const path = async (file: string): Promise<string> => {
    if (artifact.files.includes(file)) return artifact.path(file);
    throw new DataError(`${hasNo} ${JSON.stringify(file)}${await hint()}`);
  };
  return { ...artifact, path };
}

/** The stage that a manifest or a state file names; undefined if it names none. */
async function stageIn(path: string): Promise<string | undefined> {
  try {
    const { stage } = JSON.parse(await readFile(path, "utf8")) as { readonly stage?: unknown };
    return typeof stage === "string" ? stage : undefined;
  } catch {
    return undefined; // whoever opens it says what is wrong with it
  }
}

async function holdsFoldersAlone(folder: string): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.length > 0 && entries.every((entry) => entry.isDirectory() || entry.name.startsWith("."));
}

/** Names folders near a wrong one that fit: around it, in it, and beside it. */
async function hint(root: string, input: InputSpec): Promise<string> {
  const parent = await nearestFolder(dirname(root));
  const around = (await Promise.all([parent, dirname(parent)].map((folder) => fits(folder, input)))).flat();
  const [below, beside] = [await found(root, input, root), await found(parent, input, root)];
  return said([...new Set([...around, ...below, ...beside])]);
}

/** A folder, or the first above it that there is. */
async function nearestFolder(folder: string): Promise<string> {
  const there = await stat(folder).catch(() => undefined);
  return there?.isDirectory() || folder === dirname(folder) ? folder : nearestFolder(dirname(folder));
}

function said(folders: readonly string[]): string {
  const named = folders.slice(0, MAX_HINTS).map((folder) => JSON.stringify(relative(".", folder) || "."));
  return named.length === 0 ? "" : `; did you mean ${named.join(" or ")}?`;
}

async function fits(folder: string, { stages = [] }: InputSpec): Promise<string[]> {
  const stage = await stageIn(join(folder, MANIFEST_FILE));
  return stage !== undefined && stages.includes(stage) ? [folder] : [];
}

/**
 * Folders below one that are what a stage made of those that make such an input; nearer ones first, the usual stage's
 * first.
 */
async function found(top: string, input: InputSpec, but: string): Promise<string[]> {
  const made: { folder: string; rank: number }[] = [];
  let [folders, seen] = [[top], 0];
  for (let depth = 0; depth < DEPTH; depth++) {
    const next: string[] = [];
    for (const folder of folders)
      for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
        if (!entry.isDirectory() || entry.name.startsWith(".") || ++seen > MAX_FOLDERS) continue;
        const below = join(folder, entry.name);
        const stage = await stageIn(join(below, MANIFEST_FILE));
        const rank = stage === undefined ? -1 : (input.stages ?? []).indexOf(stage);
        if (rank >= 0 && below !== but) made.push({ folder: below, rank });
        if (stage === undefined) next.push(below);
      }
    folders = next;
  }
  return made.sort((a, b) => a.rank - b.rank).map(({ folder }) => folder);
}
