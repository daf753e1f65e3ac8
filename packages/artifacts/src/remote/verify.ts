import type { Digest } from "../store/manifest.js";
import type { Made, ObjectRef, Store } from "../store/store.js";
import { LAYOUT } from "./place.js";
import { RemoteError } from "./remote-error.js";
import { objectsOf } from "./records.js";
import type { Listed, Remote } from "./remote.js";
import { together } from "./together.js";
import { readsBack } from "./upload.js";

export interface VerifyRemoteOptions {
  /** The local store: what it has whole mends what is not whole there. */
  readonly store: Store;
  /** What this workspace shows: all of it should be there. */
  readonly made: readonly Made[];
  /** Also whatever else keys name there. */
  readonly whole: boolean;
  /** Read every object and hash it, instead of comparing sizes. */
  readonly deep: boolean;
  /** Mend nothing. */
  readonly dryRun: boolean;
  /** Told of bytes as objects are read. */
  readonly onProgress?: (doneBytes: number) => void;
}

export interface RemoteFinding {
  /** Its path below the remote store's URI. */
  readonly where: string;
  readonly problem: string;
  /** What was done about it; missing if a run has to. */
  readonly mended?: string;
}

export interface VerifiedRemote {
  readonly findings: readonly RemoteFinding[];
  readonly keys: number;
  readonly objects: number;
  readonly bytes: number;
}

/**
 * Looks whether what the remote store names is there, and mends it from what is here.
 *
 * @throws {RemoteError} If it cannot be asked.
 */
export async function verifyRemote(remote: Remote, options: VerifyRemoteOptions): Promise<VerifiedRemote> {
  const check = new Check(remote, options, await remote.list());
  const own = new Map(options.made.map((made) => [made.record.key, made]));
  for (const key of own.keys()) await check.key(key, own.get(key));
  if (options.whole) for (const key of check.listed.keys) if (!own.has(key)) await check.key(key, undefined);
  await check.objects();
  const bytes = [...check.refs.values()].reduce((sum, ref) => sum + ref.bytes, 0);
  const findings = check.findings.sort((a, b) => (a.where < b.where ? -1 : 1));
  return { findings, keys: check.keys, objects: check.refs.size, bytes };
}

class Check {
  readonly findings: RemoteFinding[] = [];
  readonly refs = new Map<Digest, ObjectRef>();
  private readonly mayLack = new Set<Digest>();
  keys = 0;

  constructor(
    private readonly remote: Remote,
    private readonly options: VerifyRemoteOptions,
    readonly listed: Listed,
  ) {}

  /** @param own What this workspace says that the key means. */
  async key(key: Digest, own: Made | undefined): Promise<void> {
    this.keys++;
    const here = own ?? (await this.options.store.lookup(key));
    let made: Made | undefined;
    let problem = "it is not there";
    try {
      if (this.listed.keys.has(key)) made = await this.remote.find(key);
    } catch (error) {
      if (!(error instanceof RemoteError) || error.problem !== "damaged") throw error;
      problem = error.message.replace(/^.*?: /, "");
    }
    const mend = here && (() => this.remote.push(here).then(() => this.remote.rename(here)));
    if (made === undefined) await this.found(LAYOUT.key(key), problem, "written again", mend);
    for (const { ref, mayLack } of objectsOf(made ?? here ?? nothing)) {
      this.refs.set(ref.sha256, ref);
      if (mayLack) this.mayLack.add(ref.sha256);
      else this.mayLack.delete(ref.sha256);
    }
  }

  async objects(): Promise<void> {
    const { deep, onProgress } = this.options;
    const { connection } = this.remote;
    let done = 0;
    await together(this.refs.values(), connection.limits.together, async (ref) => {
      const path = LAYOUT.object(ref.sha256);
      const size = this.listed.objects.get(ref.sha256) ?? (await connection.sizeOf(path)); // a key may have been mended
      if (size === undefined && this.mayLack.has(ref.sha256)) return;
      const isWhole = size === ref.bytes && (!deep || (await readsBack(connection, path, ref)));
      onProgress?.((done += ref.bytes));
      if (isWhole) return;
      const problem =
        size === undefined
          ? "it is missing"
          : size === ref.bytes
            ? "it is damaged"
            : `it has ${size} bytes, expected ${ref.bytes}`;
      const mend = (await this.options.store.intact(ref, true)) ? () => this.remote.replace(ref) : undefined;
      await this.found(path, problem, "uploaded again", mend);
    });
  }

  private async found(
    where: string,
    problem: string,
    mended: string,
    mend: (() => Promise<unknown>) | undefined,
  ): Promise<void> {
    const isMended =
      mend !== undefined &&
      !this.options.dryRun &&
      (await mend().then(
        () => true,
        (error: unknown) => {
          if (error instanceof RemoteError && error.problem === "missing") return false;
          throw error;
        },
      ));
    this.findings.push({ where, problem, ...(isMended ? { mended } : {}) });
  }
}

const nothing = { manifest: { files: {} }, record: { logs: {} } } as unknown as Made;
