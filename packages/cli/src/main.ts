/** What `bin/madformer.mjs` runs. */
import { run } from "./program.js";

// `madformer inspect FILE | head`: who reads may stop at any time.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  columns: process.stdout.columns,
  debug: Boolean(process.env["MADFORMER_DEBUG"]),
});
