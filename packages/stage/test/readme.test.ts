import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));

test("the README's example prints what it says", async () => {
  const readme = await readFile(`${root}README.md`, "utf8");
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? "";
  await mkdir(`${root}node_modules`, { recursive: true });
  // Below the package: its imports resolve as its own would.
  const folder = await mkdtemp(`${root}node_modules/readme-`);
  try {
    await writeFile(`${folder}/example.mts`, example);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--no-warnings", "--import", "tsx", `${folder}/example.mts`],
      {
        cwd: root,
        env: { ...process.env, FORCE_COLOR: "0", TSX_TSCONFIG_PATH: `${root}tsconfig.json` },
      },
    );
    expect(stdout.trim()).toBe("hello world false true");
  } finally {
    await rm(folder, { recursive: true });
  }
});
