/** Other versions of Node than the one that runs this; their binaries come from npm. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { $ } from "zx";

const folder = { path: "" };

/**
 * Installs a version: the package that holds its binary, as the npm package `node` would in a script, which npm does
 * not run. It is gone when this process ends.
 *
 * @param {string} version Such as 22.
 * @returns {Promise<string>} The binary.
 */
export async function installNode(version) {
  if (!/^\d+(\.\d+){0,2}$/.test(version))
    throw new RangeError(`Cannot install Node ${JSON.stringify(version)}: expected a version, such as 22`);
  if (folder.path === "") {
    folder.path = mkdtempSync(join(tmpdir(), "node-versions-"));
    process.on("exit", () => rmSync(folder.path, { recursive: true, force: true }));
  }
  const { platform, arch } = process;
  const name = `node-${platform === "win32" ? "win" : platform}-${arch}`;
  const prefix = join(folder.path, version);
  await $({
    cwd: folder.path,
    stdio: ["ignore", "pipe", "inherit"],
  })`npm install --prefix ${prefix} --no-audit --no-fund ${name}@${version}`;
  return join(prefix, "node_modules", name, "bin", platform === "win32" ? "node.exe" : "node");
}

/**
 * The environment in which programs find this Node first.
 *
 * @param {string} node
 * @returns {NodeJS.ProcessEnv}
 */
export function envOf(node) {
  return { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env["PATH"]}` };
}
