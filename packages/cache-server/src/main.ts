/** What `npm run cache-server` runs: sources as they are, so that it starts before anything is built. */
import { pino } from "pino";
import { run } from "./program.js";

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    if (stopping.signal.aborted) process.exit(1); // asked twice: at once
    stopping.abort();
  });

// npm hands signals to its shell, which ends and leaves this process behind.
const parent = process.ppid;
if (process.env["npm_lifecycle_event"] !== undefined)
  setInterval(() => process.ppid !== parent && stopping.abort(), 200).unref();

const log = pino.destination({ fd: 1, sync: true });
log.on("error", () => undefined); // a disk that is full, a pipe that nobody reads: runs go on

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  signal: stopping.signal,
  log,
});
