import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { Logger } from "pino";
import { Damaged, Resting, type Cache } from "./cache.js";
import { Deadline, TooSlow } from "./deadline.js";
import type { Limits } from "./limits.js";
import type { Spool } from "./spool.js";
import type { Access, Tokens } from "./tokens.js";

export interface CacheServerOptions {
  readonly cache: Cache;
  readonly spool: Spool;
  readonly tokens: Tokens;
  readonly limits: Limits;
  readonly log: Logger;
}

/** Longer than Nx' client keeps a connection it does not use (90 s): the client closes it, never under a request. */
const KEEP_ALIVE_MS = 120_000;

/** Nx' hashes are decimal or hexadecimal; this is what may become a file's name. */
const HASH = /^[0-9a-f]{1,128}$/;

/**
 * A server that speaks Nx's protocol for caches (`GET`, `PUT /v1/cache/<hash>`), so that no run fails because of it.
 *
 * Nx 23 takes these answers, and fails a run at any other, at a body that is cut and at silence, for which it has no
 * limit (`HttpRemoteCache` of its native part, nrwl/nx #36107, #36640):
 *
 *     GET   200 here it is             404 there is none
 *     PUT   200 stored                 409 there already       403 not stored
 *
 * Hence 404 and 403 for everything else, a token that is unknown and a body that is too large among them. What was
 * wrong is in the log, and `/healthz` says what a token may do.
 */
export function createCacheServer(options: CacheServerOptions): Server {
  const { log } = options;
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
    const answering = new Answering(request, response, options);
    const failed = (error: unknown): void => {
      if (response.headersSent) response.destroy();
      else response.writeHead(request.method === "PUT" ? 403 : 404).end();
      log.error({ reason: plain(error).message }, "answering failed");
    };
    answering
      .run()
      .catch(failed)
      .catch(() => undefined); // a log that cannot be written fails no run either
  });
  server.on("clientError", (_error, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    else socket.destroy();
  });
  return server;
}

/**
 * Takes no more requests, and lets those that are being answered end.
 *
 * @param graceMs After this they are cut.
 */
export async function stopServer(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  try {
    await closed;
  } finally {
    clearInterval(idle);
    clearTimeout(timer);
  }
}

/** One request. */
class Answering {
  private readonly started = performance.now();
  private readonly gone = new AbortController();
  private readonly access: Access;

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly options: CacheServerOptions,
  ) {
    this.access = options.tokens.accessOf(request.headers.authorization);
    response.on("close", () => this.gone.abort(new Error("the client has gone")));
    response.on("error", () => undefined); // "close" follows
    request.on("error", () => undefined); // who reads it is told
  }

  async run(): Promise<void> {
    const { method, url = "" } = this.request;
    const path = url.replace(/[?#].*$/s, "");
    const hash = /^\/+v1\/cache\/([^/]*)$/.exec(path)?.[1];
    if (hash !== undefined && method === "GET") return this.get(hash);
    if (hash !== undefined && method === "PUT") return this.put(hash);
    if (path === "/healthz" && (method === "GET" || method === "HEAD")) return this.health();
    return this.end(hash === undefined && path !== "/healthz" ? 404 : 405, "no such thing");
  }

  private health(): void {
    const health = {
      status: "ok",
      store: this.options.cache.isAnswering ? "ok" : "not answering",
      access: this.access,
    };
    this.head(200, "application/json").end(`${JSON.stringify(health)}\n`);
  }

  private async get(hash: string): Promise<void> {
    const { cache, limits } = this.options;
    const { response, gone } = this;
    const refused = this.refusal(hash, "read");
    if (refused !== undefined) return this.miss(hash, refused);
    const found = await cache.get(hash, gone.signal).catch((error: unknown) => this.trouble(hash, error));
    if (found === undefined) return this.miss(hash);
    if (typeof found === "string") return this.miss(hash, found);
    await using file = found;
    response.setTimeout(limits.clientIdleMs, () => response.destroy());
    this.head(200, "application/octet-stream").setHeader("content-length", file.bytes);
    // Who closes the connection with the last byte cannot be told from who closes it before.
    const closed = await pipeline(file.open(), response).catch((error: unknown) => plain(error).message);
    this.note("hit", { hash, status: 200, bytes: file.bytes, ...(typeof closed === "string" && { closed }) });
  }

  private async put(hash: string): Promise<void> {
    const { cache, spool, limits } = this.options;
    const { request, gone } = this;
    const declared = Number(request.headers["content-length"] ?? 0);
    let refused = this.refusal(hash, "read-write") ?? (declared > limits.maxBytes ? tooLarge(limits) : undefined);
    using deadline = new Deadline(limits.uploadMs, gone.signal);
    const within = <T>(step: () => Promise<T>): Promise<T> => deadline.within(limits.clientIdleMs, step);
    const refuse = (error: unknown): undefined => void (refused = `the disk: ${plain(error).message}`);
    const file = refused === undefined ? await within(() => spool.file()).catch(refuse) : undefined;
    try {
      // All of it is read whatever becomes of it: an answer that comes while Nx is still sending may be lost.
      let bytes = 0;
      for await (const chunk of deadline.chunks(request.iterator({ destroyOnReturn: false }), limits.clientIdleMs)) {
        bytes += chunk.length;
        if (bytes > limits.maxBytes) refused ??= tooLarge(limits);
        if (refused === undefined) await within(() => file!.append(chunk)).catch(refuse);
      }
      if (!request.complete) throw new Error("the body was cut");
      if (bytes === 0) refused ??= "the body is empty";
      if (refused !== undefined) return this.end(403, refused, hash);
      const outcome = await cache.put(hash, file!, gone.signal).catch((error: unknown) => this.trouble(hash, error));
      if (outcome === "stored" || outcome === "exists")
        return this.end(outcome === "stored" ? 200 : 409, outcome, hash, bytes);
      return this.end(403, outcome, hash);
    } catch (error) {
      this.response.shouldKeepAlive = false; // there may be more of the body
      return this.end(403, plain(error).message, hash);
    } finally {
      void file?.[Symbol.asyncDispose]().catch(() => undefined); // not waited for: the disk may be what is stuck
    }
  }

  /** Why this request gets nothing; undefined if it does. */
  private refusal(hash: string, needed: "read" | "read-write"): string | undefined {
    if (this.access === "none") return this.request.headers.authorization ? "an unknown token" : "no token";
    if (needed === "read-write" && this.access !== needed) return "a token to read";
    return HASH.test(hash) ? undefined : "no hash";
  }

  /** Says what is wrong with the store, once for all who ask while it rests. */
  private trouble(hash: string, error: unknown): string {
    const { message } = plain(error);
    if (this.gone.signal.aborted || error instanceof Resting) return message;
    const what =
      error instanceof Damaged ? "damaged" : error instanceof TooSlow ? "the store is slow" : "the store failed";
    this.options.log.warn({ hash, reason: message }, what);
    return message;
  }

  private miss(hash: string, reason?: string): void {
    this.end(404, reason ?? "there is none", HASH.test(hash) ? hash : undefined);
  }

  private end(status: number, reason: string, hash?: string, bytes?: number): void {
    this.note(`${this.request.method} ${status}`, { hash, status, bytes, reason });
    if (!this.response.headersSent) this.head(status, "text/plain").end(`${reason}\n`);
  }

  private head(status: number, type: string): ServerResponse {
    this.response.statusCode = status;
    this.response.setHeader("content-type", type);
    this.response.setHeader("cache-control", "no-store"); // a miss now is none later
    return this.response;
  }

  private note(message: string, fields: Readonly<Record<string, unknown>>): void {
    const ms = Math.round(performance.now() - this.started);
    this.options.log.info({ ...fields, access: this.access, ms }, message);
  }
}

const tooLarge = ({ maxBytes }: Limits): string => `the body has more than ${maxBytes} bytes`;

/** An error without what its libraries hang on to it: requests, headers, credentials. */
function plain(error: unknown): { readonly name: string; readonly message: string } {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, code } = error as NodeJS.ErrnoException;
  const said = message === "" ? (code ?? name) : message.slice(0, 500);
  return { name, message: said === "UnknownError" ? name : said };
}
