import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { listFiles, sha256 } from "@madformer/artifacts";
import type { BundleDigest } from "@madformer/stage";

/**
 * All code that the command can run: the built files of all packages of this workspace. A pipeline's stages have a
 * bundle each, whose digest says more; the command has no need to be that fine.
 */
export async function commandDigest(): Promise<BundleDigest> {
  const packages = join(dirname(fileURLToPath(import.meta.url)), "../../..");
  const parts: string[] = [];
  for (const name of (await readdir(packages)).sort()) {
    const built = join(packages, name, "dist");
    const files = await listFiles(built).catch(() => []);
    for (const file of files.filter((file) => file.endsWith(".js")))
      parts.push(`${name}/${file} ${sha256(await readFile(join(built, file)))}`);
  }
  return { sha256: sha256(parts.join("\n")), externals: [] };
}
