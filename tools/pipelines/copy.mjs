import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/**
 * A copy of a workspace, with the changes that are not committed, in which pipelines can be run and damaged. It shares
 * `node_modules`, and is removed when this process ends.
 *
 * @param {string} root
 * @returns {string} Its root.
 */
export function copyWorkspace(root) {
  const copy = mkdtempSync(path.join(tmpdir(), "workspace-"));
  process.on("exit", () => rmSync(copy, { recursive: true, force: true }));
  const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root, encoding: "utf8" });
  for (const file of files.trim().split("\n")) {
    if (!existsSync(path.join(root, file))) continue; // deleted, not committed
    mkdirSync(path.dirname(path.join(copy, file)), { recursive: true });
    cpSync(path.join(root, file), path.join(copy, file));
  }
  shareModules(root, copy);
  execFileSync("git", ["init", "-q"], { cwd: copy }); // Nx reads .gitignore of a repository
  delete process.env["MADFORMER_STORE"];
  process.env["MADFORMER_REMOTE"] = "off"; // whoever tests it names one
  return copy;
}

/**
 * Gives a copy of a workspace what npm installed for the original.
 *
 * @param {string} root
 * @param {string} copy
 */
export function shareModules(root, copy) {
  for (const dir of ["", ...readdirSync(path.join(root, "packages")).map((name) => `packages/${name}/`)]) {
    const installed = path.join(root, dir, "node_modules"); // where two packages want two versions, npm nests one
    if (existsSync(installed) && existsSync(path.join(copy, dir)))
      symlinkSync(installed, path.join(copy, dir, "node_modules"));
  }
}
