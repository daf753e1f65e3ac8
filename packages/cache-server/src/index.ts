/**
 * A cache that several machines share, for Nx: its self-hosted protocol in front of a folder or an S3 bucket.
 *
 * Reading order: `server.ts` (what is answered when), `cache.ts` (how it lies in the store), `store/` (where it lies),
 * `deadline.ts`, `spool.ts` (how waits and bodies are bounded).
 */
export { createCacheServer, stopServer, type CacheServerOptions } from "./server.js";
export { Cache, Damaged, Resting } from "./cache.js";
export { Deadline, TooSlow } from "./deadline.js";
export { LIMITS, type Limits } from "./limits.js";
export { Spool, SpoolFile } from "./spool.js";
export { Tokens, type Access } from "./tokens.js";
export type { Blob, BlobStore, Content } from "./store/blob-store.js";
export { FolderStore } from "./store/folder.js";
export { S3Store } from "./store/s3.js";
export { run } from "./program.js";
