import { copyFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  digestFile,
  exists,
  makeFolder,
  type Digest,
  type Made,
  type ObjectRef,
  type Store,
} from "@madformer/artifacts";
import { lentOutput, oddOutput, outputFolder, readChecked, readOutput, showOutput } from "./output.js";
import type { Pipeline } from "./pipeline.js";

/** Something that is not as it should be. */
export interface Finding {
  /** `smoke/sample`, or a place in the store. */
  readonly where: string;
  readonly problem: string;
  /** What was done about it; missing if a run has to. */
  readonly mended?: string;
}

export interface VerifyOptions {
  readonly store: Store;
  readonly pipelines: readonly Pipeline[];
  /** Only this stage of them. */
  readonly stage?: string | undefined;
  /** Also what of the store no pipeline shows. */
  readonly whole: boolean;
  /** Hash every object, instead of those whose size or time is not what the store gave them. */
  readonly deep: boolean;
  /** The remote store of the workspace: files that are there alone are not missing. */
  readonly remote?: string | undefined;
  /** Mend nothing. */
  readonly dryRun: boolean;
  /** Told of bytes as objects are looked at. */
  readonly onProgress?: (doneBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface Verified {
  readonly findings: readonly Finding[];
  readonly stages: number;
  /** Those of them that have files in the remote store alone. */
  readonly elsewhere: number;
  readonly objects: number;
  readonly bytes: number;
}

/**
 * Looks at everything that pipelines show and the store holds, and mends what can be mended without running a stage:
 * times of objects, names in `out/`, notes of the store that `out/` still tells of, objects that `out/` still shows.
 * Damaged objects are removed, and made again when a stage needs them.
 */
export async function verify(options: VerifyOptions): Promise<Verified> {
  const check = new Check(options);
  for (const pipeline of options.pipelines)
    for (const { name } of pipeline.stages)
      if (options.stage === undefined || options.stage === name) await check.stage(pipeline, name);
  if (options.whole) await check.store();
  const { findings, stages, seen, elsewhere } = check;
  const bytes = [...seen.values()].reduce((sum, { ref }) => sum + ref.bytes, 0);
  return { findings, stages, elsewhere, objects: seen.size, bytes };
}

class Check {
  readonly findings: Finding[] = [];
  /** Objects that were looked at, and whether they are whole now. */
  readonly seen = new Map<Digest, { readonly ref: ObjectRef; readonly whole: boolean }>();
  readonly stageKeys = new Set<Digest>();
  stages = 0;
  elsewhere = 0;
  private doneBytes = 0;

  constructor(private readonly options: VerifyOptions) {}

  /** What a pipeline shows of a stage. */
  async stage({ name: pipeline, folder }: Pipeline, stage: string): Promise<void> {
    const { store, dryRun } = this.options;
    const [out, where] = [outputFolder(folder, stage), `${pipeline}/${stage}`];
    if (!(await exists(out))) return;
    this.stages++;
    const [checked, shown] = [await readChecked(out), await readOutput(out)];
    const key = checked?.key ?? shown?.record.key;
    if (key === undefined)
      return this.found(where, "manifest and record are damaged or lost, and nothing else says what it made");
    this.stageKeys.add(key);
    let made = await store.peek(key);
    const elsewhere = checked?.remote !== undefined && checked.remote === this.options.remote;
    if (made === undefined && elsewhere) made = await lentOutput(out);
    if (made === undefined || made === "damaged") {
      const problem = `the store's note of it is ${made === undefined ? "lost" : "damaged"}`;
      if (shown?.record.key !== key) return this.found(where, problem);
      made = shown;
      await this.mend(where, problem, "written again, from what is shown", () => store.remember(shown));
    }

    let whole = true;
    for (const [file, ref] of Object.entries(made.manifest.files))
      whole = (await this.object(ref, where, file, join(out, "files", file), elsewhere)) && whole;
    for (const [file, ref] of Object.entries(made.record.logs)) await this.log(ref, where, file);
    if (elsewhere && !whole) this.elsewhere++;
    const odd = whole || elsewhere || dryRun ? await oddOutput(out, made, store, elsewhere) : undefined;
    const { folder: at, made: shows } = { folder, made };
    if (odd !== undefined && (whole || elsewhere))
      await this.mend(where, odd, "shown as it should be", () => showOutput(at, stage, shows, store));
    if (checked === undefined)
      await this.mend(where, "checked.json is damaged or lost", "the next run writes it again", () =>
        rm(join(out, "checked.json"), { recursive: true, force: true }),
      );
  }

  /** Everything in the store that no pipeline shows. */
  async store(): Promise<void> {
    const { store } = this.options;
    for (const key of await store.keys()) {
      if (this.stageKeys.has(key)) continue;
      const [made, where] = [await store.peek(key), `keys/${key}`];
      if (made === undefined) continue;
      if (made === "damaged") {
        await this.mend(where, "the note of what was made is damaged", "forgotten", () => store.forget(key));
        continue;
      }
      const missing = await this.missingOf(made, where);
      if (missing !== undefined)
        await this.mend(where, `${missing} of what stage "${made.record.stage}" made is missing`, "forgotten", () =>
          store.forget(key),
        );
    }
    for (const name of await store.objectNames()) await this.named(name);
  }

  private async missingOf({ manifest, record }: Made, where: string): Promise<string | undefined> {
    let missing: string | undefined;
    for (const [file, ref] of Object.entries(manifest.files))
      if (!(await this.object(ref, where, file))) missing = file;
    for (const [file, ref] of Object.entries(record.logs)) await this.log(ref, where, file);
    return missing;
  }

  /** Something that lies among the objects. */
  private async named(name: string): Promise<void> {
    const [folder = "", sha256 = ""] = name.split("/");
    const where = `objects/${name}`;
    const path = join(this.options.store.root, where);
    if (/\.part$/.test(name)) return; // another process is copying
    if (!/^[0-9a-f]{64}$/.test(sha256) || !sha256.startsWith(folder))
      return this.found(where, "it is no object, and nothing of the store's: remove it");
    if (this.seen.has(sha256)) return;
    const status = await stat(path).catch(() => undefined);
    if (status !== undefined) await this.object({ sha256, bytes: status.size }, where);
  }

  /**
   * @param file What the stage calls it; without, nothing asks for it.
   * @param shown Where `out/` shows it.
   * @param elsewhere Whether it is in the remote store, and need not be here.
   * @returns Whether the object is whole now.
   */
  private async object(
    ref: ObjectRef,
    where: string,
    file?: string,
    shown?: string,
    elsewhere = false,
  ): Promise<boolean> {
    const { store, deep, signal, onProgress } = this.options;
    const before = this.seen.get(ref.sha256);
    if (before) return before.whole;
    signal?.throwIfAborted();
    const name = file === undefined ? "it" : JSON.stringify(file);
    const state = await store.examine(ref, deep);
    let whole = state === "whole" || state === "touched";
    if (state === "touched")
      await this.mend(where, `${name} was touched, its bytes are right`, "its time is set back", () =>
        store.settle(ref.sha256),
      );
    const back = shown !== undefined && !whole && (await isCopy(shown, ref));
    if (state === "missing" && elsewhere && !back) return false;
    onProgress?.((this.doneBytes += ref.bytes));
    const problem = `${name} is ${state}`;
    if (back) {
      await this.mend(where, problem, "taken back from what is shown", () => this.takeBack(ref, shown));
      whole = true;
    } else if (state === "damaged")
      await this.mend(where, problem, "removed", () => store.remove(ref.sha256), shown === undefined || elsewhere);
    else if (state === "missing" && shown !== undefined) this.found(where, problem);
    if (whole || !elsewhere) this.seen.set(ref.sha256, { ref, whole });
    return whole;
  }

  /** A log decides nothing: one that is lost is lost, one that is damaged goes. */
  private async log(ref: ObjectRef, where: string, file: string): Promise<void> {
    const { store, deep } = this.options;
    if (this.seen.has(ref.sha256)) return;
    const state = await store.examine(ref, deep);
    if (state === "missing") return;
    this.seen.set(ref.sha256, { ref, whole: state !== "damaged" });
    if (state === "touched")
      await this.mend(where, `${JSON.stringify(file)} was touched, its bytes are right`, "its time is set back", () =>
        store.settle(ref.sha256),
      );
    if (state === "damaged")
      await this.mend(where, `the log ${JSON.stringify(file)} is damaged`, "removed", () => store.remove(ref.sha256));
  }

  /** Makes an object of a copy of a file that holds its bytes. */
  private async takeBack(ref: ObjectRef, shown: string): Promise<void> {
    const { store } = this.options;
    await store.remove(ref.sha256);
    const copy = join(await makeFolder(store.root, "work"), `${ref.sha256}.part`);
    await copyFile(shown, copy);
    await store.add(copy);
    await rm(copy, { force: true });
  }

  private found(where: string, problem: string): void {
    this.findings.push({ where, problem });
  }

  private async mend(
    where: string,
    problem: string,
    mended: string,
    work: () => Promise<unknown>,
    complete = true,
  ): Promise<void> {
    if (!this.options.dryRun) await work();
    this.findings.push({ where, problem, ...(this.options.dryRun || !complete ? {} : { mended }) });
  }
}

/** Whether a file holds the bytes of an object. */
async function isCopy(path: string, ref: ObjectRef): Promise<boolean> {
  return (await digestFile(path).catch(() => undefined))?.sha256 === ref.sha256;
}
