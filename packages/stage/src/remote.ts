import { appendFile, readFile } from "node:fs/promises";
import {
  Remote,
  RemoteError,
  remotePlace,
  type Digest,
  type Made,
  type ObjectRef,
  type OnBytes,
  type RemoteLimits,
  type Store,
} from "@madformer/artifacts";
import { openLog } from "./log.js";

/**
 * Names a file in which the processes of one run tell each other what of the remote store does not work, so that one of
 * them says it and the others do not try.
 */
const TROUBLE = "MADFORMER_REMOTE_TROUBLE";

/** Bytes between two looks at the bar. */
const SHOWN_BYTES = 2 ** 20;

export interface StageRemoteOptions {
  readonly signal: AbortSignal;
  /** Shown in front of lines. */
  readonly title: string;
  readonly stream?: NodeJS.WriteStream | undefined;
  readonly limits?: Partial<RemoteLimits>;
}

type Side = "fetch" | "push";

/**
 * The remote store as runs use it: it saves time and never stops them. What cannot be fetched is computed; what cannot
 * be pushed is here. What does not work is said once, and not tried again in the same run.
 */
export class StageRemote implements AsyncDisposable {
  private readonly off = new Set<Side>();
  /** Keys that mean nothing that can be had. */
  private readonly broken = new Set<Digest>();

  private constructor(
    private readonly remote: Remote,
    private readonly options: StageRemoteOptions,
  ) {}

  /**
   * The remote store of a workspace; undefined if it has none.
   *
   * @throws {DataError} If what names it is no such name.
   */
  static async open(workspace: string, store: Store, options: StageRemoteOptions): Promise<StageRemote | undefined> {
    const place = await remotePlace(workspace);
    if (place === undefined) return undefined;
    const { signal, limits } = options;
    const remote = Remote.open(place, store, {
      signal,
      ...(limits && { limits }),
      onNotice: (message) => say(options, message),
    });
    const shared = new StageRemote(remote, options);
    for (const [what = "", of = ""] of await toldTroubles()) {
      if (what === "fetch" || what === "push") shared.off.add(what);
      if (what === "key") shared.broken.add(of);
      if (what === "object") remote.distrust(of);
    }
    return shared;
  }

  get name(): string {
    return this.remote.name;
  }

  /** Whether anything can be had from it. Waits for its first answer, not for long. */
  async answers(): Promise<boolean> {
    if (this.off.has("fetch")) return false;
    try {
      await this.remote.greet();
      return true;
    } catch (error) {
      await this.failed("fetch", error);
      return false;
    }
  }

  /** What a stage with this key made, as the remote store knows it. */
  async find(key: Digest): Promise<Made | undefined> {
    if (this.off.has("fetch") || this.broken.has(key)) return undefined;
    try {
      return await this.remote.find(key);
    } catch (error) {
      await this.failed("fetch", error, key);
      return undefined;
    }
  }

  /**
   * Brings what is not here of something that was made.
   *
   * @returns Whether all of it is here now.
   */
  async bring(made: Made, title: string): Promise<boolean> {
    if (this.off.has("fetch")) return false;
    using bar = this.bar(title);
    try {
      await this.remote.fetch(made, bar.onBytes);
      return true;
    } catch (error) {
      bar[Symbol.dispose]();
      await this.failed("fetch", error, made.record.key);
      return false;
    }
  }

  /**
   * Brings one file of something that was made, for whoever reads it.
   *
   * @returns Whether it is here now.
   */
  async bringOne(made: Made, ref: ObjectRef): Promise<boolean> {
    if (this.off.has("fetch")) return false;
    try {
      await this.remote.fetchOne(ref);
      return true;
    } catch (error) {
      await this.failed("fetch", error, made.record.key);
      return false;
    }
  }

  /** Pushes what was made. */
  async push(made: Made, title: string): Promise<void> {
    if (this.off.has("push")) return;
    using bar = this.bar(title);
    try {
      await this.remote.push(made, { onBytes: bar.onBytes });
    } catch (error) {
      bar[Symbol.dispose]();
      await this.failed("push", error);
    }
  }

  private bar(title: string): { readonly onBytes: OnBytes } & Disposable {
    const { stream } = this.options;
    const log = openLog({ name: title, ...(stream && { stream }) });
    return { onBytes: rateMeter(log.progress.bind(log)), [Symbol.dispose]: () => log[Symbol.dispose]() };
  }

  /** Says it, once. An object that is damaged or missing is no reason to give up all others. */
  private async failed(side: Side, error: unknown, key?: Digest): Promise<void> {
    this.options.signal.throwIfAborted();
    if (!(error instanceof RemoteError)) throw error;
    const { message, problem } = error;
    const isPassing = problem === "damaged" || problem === "missing";
    const then =
      side === "push"
        ? "`npx madformer push` does it later"
        : `computing what is not here${isPassing ? "" : "; nothing is pushed"}`;
    if (!this.off.has(side)) say(this.options, `warning: ${message}; ${then}`);
    if (isPassing) {
      if (key !== undefined) {
        this.broken.add(key);
        await this.remote.forgetKey(key);
      }
      const objects = this.remote.distrusted.map((sha256) => `object ${sha256}`);
      return await tellTroubles(key === undefined ? objects : [`key ${key}`, ...objects]);
    }
    const sides: readonly Side[] = side === "push" && problem !== "unreachable" ? ["push"] : ["fetch", "push"];
    for (const one of sides) this.off.add(one);
    await tellTroubles(sides);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remote[Symbol.asyncDispose]();
  }
}

/** Shows bytes as MiB, and how many come in a second. */
export function rateMeter(
  progress: (label: string, done: number, total: number, details: Readonly<Record<string, string>>) => void,
): OnBytes {
  const began = performance.now();
  let [first, shown] = [-1, -Infinity];
  return (done, total) => {
    if (first < 0) first = done;
    if (done < total && done - shown < SHOWN_BYTES && done >= shown) return;
    shown = done;
    const rate = (done - first) / 2 ** 20 / Math.max(0.001, (performance.now() - began) / 1000);
    const mebibytes = (bytes: number): number => Math.ceil(bytes / 2 ** 20);
    progress("MiB", mebibytes(done), mebibytes(total), { rate: `${rate.toFixed(1)} MiB/s` });
  };
}

const say = ({ title, stream = process.stderr }: StageRemoteOptions, message: string): void =>
  void stream.write(`${title}: ${message}\n`);

async function tellTroubles(lines: readonly string[]): Promise<void> {
  const file = process.env[TROUBLE];
  const text = lines.map((line) => `${line}\n`).join("");
  if (file !== undefined) await appendFile(file, text).catch(() => undefined);
}

/** What other processes of this run have found out: words of lines. */
async function toldTroubles(): Promise<string[][]> {
  const file = process.env[TROUBLE];
  if (file === undefined) return [];
  const text = await readFile(file, "utf8").catch(() => "");
  return text.split("\n").map((line) => line.split(" "));
}
