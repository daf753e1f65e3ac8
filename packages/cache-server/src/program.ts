import { readFileSync } from "node:fs";
import { isIP, type AddressInfo } from "node:net";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { pino, type DestinationStream } from "pino";
import { Cache } from "./cache.js";
import { LIMITS, type Limits } from "./limits.js";
import { createCacheServer, stopServer } from "./server.js";
import { Spool } from "./spool.js";
import { FolderStore } from "./store/folder.js";
import { S3Store } from "./store/s3.js";
import { LEAST_TOKEN_CHARACTERS, Tokens } from "./tokens.js";

/** Where a run's output goes, and what ends it. */
export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends the server. */
  readonly signal: AbortSignal;
  /** Where the log goes. */
  readonly log: DestinationStream;
  /** Told of where the server can be asked. */
  readonly onListening?: (url: string) => void;
}

const DEFAULTS = { host: "127.0.0.1", port: 8650, store: ".madformer/nx-cache", graceMs: 30_000 } as const;

const HELP = `npm run cache-server -- [options]

A cache that several machines share, for Nx: its self-hosted protocol in front of a folder or an S3 bucket.

Options:
  --store PLACE             a folder, or s3://bucket/prefix       (${DEFAULTS.store})
  --host ADDRESS            where it listens; others than loopback see bodies and tokens unencrypted (${DEFAULTS.host})
  --port N                  0 takes one that is free                                 (${DEFAULTS.port})
  --read-token-file FILE    holds the token of those who may read
  --write-token-file FILE   holds the token of those who may read and write
  --max-mib N               largest body, MiB                                        (${LIMITS.maxBytes / 2 ** 20})
  --wait SECONDS            without an answer or a byte of the store for so long, a task is a miss (${LIMITS.waitMs / 1000})
  --store-seconds SECONDS   until all of a body is out of the store, or in it        (${LIMITS.storeMs / 1000})
  --upload-seconds SECONDS  until all of a body has come from a client               (${LIMITS.uploadMs / 1000})
  --spool FOLDER            where bodies lie on their way; needs room for as many as are asked for at a time (the system's)
  --log-level LEVEL         trace, debug, info, warn, error or silent                (info)
  -h, --help                print this help

Environment:
  MADFORMER_CACHE_READ_TOKEN, MADFORMER_CACHE_WRITE_TOKEN   the tokens, where no file is named; never an argument, which
      everybody on a machine can read. ${LEAST_TOKEN_CHARACTERS} characters at least, not equal; openssl rand -hex 32 makes one.
  MADFORMER_CACHE_STORE     --store, where it is not given
  AWS_*                     region, credentials and AWS_ENDPOINT_URL, as all of AWS' programs take them

Runs of Nx use it by NX_SELF_HOSTED_REMOTE_CACHE_SERVER=http://${DEFAULTS.host}:${DEFAULTS.port} and
NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=<one of the tokens>. See docs/ci-cache.md.

The log, JSON by lines, goes to standard output. Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage.
`;

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"];
const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** What was asked for cannot be done as it was asked. */
class UsageError extends Error {}

interface Settings {
  readonly store: string;
  readonly host: string;
  readonly port: number;
  readonly tokens: Tokens;
  readonly limits: Limits;
  readonly spool: string | undefined;
  readonly level: string;
}

/**
 * Runs the server until `io.signal` ends it.
 *
 * @returns The exit code: 0 stopped, 1 failed, 2 wrong usage.
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  try {
    const settings = settingsOf(args, io.env);
    if (settings === "help") io.out(HELP);
    else await serve(settings, io);
    return EXIT.done;
  } catch (error) {
    io.err(`${(error as Error).message}\n`);
    return error instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
}

async function serve(settings: Settings, io: Io): Promise<void> {
  const { host, port, limits, tokens } = settings;
  const log = pino({ level: settings.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, io.log);
  const store = await (settings.store.startsWith("s3:") ? S3Store : FolderStore).open(settings.store);
  await using spool = await Spool.open(settings.spool).catch((cause: unknown) => {
    throw new Error(`Cannot make a folder for bodies on their way: ${(cause as Error).message}`, { cause });
  });
  const server = createCacheServer({ cache: new Cache(store, spool, limits), spool, tokens, limits, log });
  try {
    server.listen(port, host);
    await once(server, "listening", { signal: io.signal });
  } catch (cause) {
    if (io.signal.aborted) return;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new Error(`Cannot listen at ${host}:${port}: ${code ?? message}`, { cause });
  }
  const address = server.address() as AddressInfo;
  const url = `http://${isIP(host) === 6 ? `[${host}]` : host}:${address.port}`;
  log.info({ url, store: store.name, maxBytes: limits.maxBytes }, "listening");
  if (!/^(127\.|::1$|localhost$)/.test(host))
    log.warn({ host }, "others than this machine can connect, and nothing is encrypted: put TLS in front");
  io.onListening?.(url);
  if (!io.signal.aborted) await once(io.signal, "abort");
  log.info("stopping");
  await stopServer(server, DEFAULTS.graceMs);
  await store.close();
  log.info("stopped");
}

function settingsOf(args: readonly string[], env: Io["env"]): Settings | "help" {
  const values = parse(args);
  if (values.help) return "help";
  const whole = (
    name: "port" | "max-mib" | "wait" | "store-seconds" | "upload-seconds",
    least: number,
    most: number,
  ) => {
    const word = values[name];
    if (word === undefined) return undefined;
    const number = /^\d{1,9}$/.test(word) ? Number(word) : NaN;
    if (number >= least && number <= most) return number;
    throw new UsageError(`Cannot use --${name} ${JSON.stringify(word)}: expected a whole number, ${least} to ${most}`);
  };
  const level = values["log-level"] ?? "info";
  if (!LOG_LEVELS.includes(level))
    throw new UsageError(`Cannot use --log-level ${JSON.stringify(level)}: expected ${LOG_LEVELS.join(", ")}`);
  const milliseconds = (s: number | undefined, ms: number): number => (s === undefined ? ms : s * 1000);
  const mib = whole("max-mib", 1, 2 ** 20);
  const limits: Limits = {
    ...LIMITS,
    ...(mib !== undefined && { maxBytes: mib * 2 ** 20 }),
    waitMs: milliseconds(whole("wait", 1, 3600), LIMITS.waitMs),
    storeMs: milliseconds(whole("store-seconds", 1, 86400), LIMITS.storeMs),
    uploadMs: milliseconds(whole("upload-seconds", 1, 86400), LIMITS.uploadMs),
  };
  return {
    store: values.store ?? (env["MADFORMER_CACHE_STORE"] || DEFAULTS.store),
    host: values.host ?? DEFAULTS.host,
    port: whole("port", 0, 65535) ?? DEFAULTS.port,
    tokens: tokensOf(values, env),
    limits,
    spool: values.spool,
    level,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        store: { type: "string" },
        host: { type: "string" },
        port: { type: "string" },
        "read-token-file": { type: "string" },
        "write-token-file": { type: "string" },
        "max-mib": { type: "string" },
        wait: { type: "string" },
        "store-seconds": { type: "string" },
        "upload-seconds": { type: "string" },
        spool: { type: "string" },
        "log-level": { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (cause) {
    throw new UsageError(`${(cause as Error).message}\n(npm run cache-server -- --help says more)`, { cause });
  }
}

function tokensOf(values: ReturnType<typeof parse>, env: Io["env"]): Tokens {
  const token = (name: "read" | "write"): string | undefined => {
    const [file, variable] = [values[`${name}-token-file`], `MADFORMER_CACHE_${name.toUpperCase()}_TOKEN`];
    const set = env[variable] || undefined;
    if (file === undefined) return set;
    if (set !== undefined) throw new UsageError(`Cannot use --${name}-token-file: ${variable} is set too`);
    try {
      return readFileSync(file, "utf8").trim();
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new UsageError(`Cannot read the ${name} token in ${JSON.stringify(file)}: ${code}`, { cause });
    }
  };
  const [read, write] = [token("read"), token("write")];
  if (read === undefined && write === undefined)
    throw new UsageError(
      "Cannot start without a token: expected MADFORMER_CACHE_READ_TOKEN, MADFORMER_CACHE_WRITE_TOKEN or files that hold them (openssl rand -hex 32 makes one)",
    );
  try {
    return new Tokens(read, write);
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}
