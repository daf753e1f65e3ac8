#!/usr/bin/env node
import { existsSync } from "node:fs";

const entry = new URL("../dist/main.js", import.meta.url);
if (!existsSync(entry)) {
  console.error("madformer is not built yet. Build it once: npm run build");
  process.exit(1);
}
await import(entry.href);
