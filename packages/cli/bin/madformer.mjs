#!/usr/bin/env node
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath, URL } from "node:url";

const entry = new URL("../dist/main.js", import.meta.url);
if (!existsSync(fileURLToPath(entry))) {
  process.stderr.write("madformer is not built yet. Build it once: npm run build\n");
  process.exit(1);
}
await import(entry.href);
