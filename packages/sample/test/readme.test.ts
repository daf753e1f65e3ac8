import { execFile } from "node:child_process";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { bench } from "../src/testing.js";

const root = fileURLToPath(new URL("..", import.meta.url));

test("the README's example prints the seeds and the sizes of their images", async () => {
  await using on = await bench();
  const readme = await readFile(join(root, "README.md"), "utf8");
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? "";
  // Below the package: its imports resolve as its own would.
  const folder = join(root, "node_modules", `readme-${process.pid}`);
  await mkdir(folder, { recursive: true });
  try {
    await writeFile(join(folder, "example.mts"), example);
    await symlink(join(on.root, "checkpoint"), join(folder, "checkpoint"));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--no-warnings", "--import", "tsx", "example.mts"],
      {
        cwd: folder,
        env: { ...process.env, FORCE_COLOR: "0", TSX_TSCONFIG_PATH: join(root, "tsconfig.json") },
      },
    );
    expect(stdout.trim().split("\n")).toEqual(["0 768", "1 768", "2 768"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
