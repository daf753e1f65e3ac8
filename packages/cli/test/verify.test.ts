/** `madformer verify` in a workspace of one pipeline with one stage. */
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "@madformer/artifacts";
import { helloWorkspace, madformer, runHello } from "../src/testing.js";

let root: string;
const before = process.cwd();
beforeEach(async () => {
  root = await helloWorkspace();
  process.chdir(root);
});
afterEach(async () => {
  process.chdir(before);
  await rm(root, { recursive: true });
});

test("says that nothing is wrong, or what is and how it comes back, and exits with 1 as long as it has not", async () => {
  const object = (await runHello()).objectPath(sha256("hello"));
  expect(await madformer("verify", "--deep")).toEqual({
    code: 0,
    out: expect.stringMatching(
      /^Looked at 1 stages and \d+ objects \(0.0 MiB, hashed\): nothing is wrong\n$/,
    ) as string,
    err: "",
  });
  await chmod(object, 0o644);
  await writeFile(object, "jello");
  for (const problem of ["damaged", "missing"]) {
    const { code, out } = await madformer("verify", "p", "hello");
    expect(code).toBe(1);
    expect(out).toContain(`! p/hello: "hello.txt" is ${problem}\n`);
    expect(out).toContain("npm run reproduce -- p makes again what is missing\n");
  }
  expect(JSON.parse((await madformer("verify", "--json")).out)).toMatchObject({
    findings: [{ where: "p/hello", problem: '"hello.txt" is missing' }],
  });
  await runHello();
  expect((await madformer("verify")).code).toBe(0);
});

test("passes over a pipeline that is broken, and refuses what is not there", async () => {
  await runHello();
  await mkdir(join(root, "pipelines/q"));
  await writeFile(join(root, "pipelines/q/pipeline.json"), "{");
  const { code, err } = await madformer("verify");
  expect([code, err]).toEqual([
    0,
    expect.stringMatching(/^Passed over: Cannot read "pipelines\/q\/pipeline.json": it is no JSON/),
  ]);
  expect(await madformer("verify", "r")).toMatchObject({
    code: 2,
    err: expect.stringContaining("expected one of: p, q") as string,
  });
  expect(await madformer("verify", "p", "x")).toMatchObject({
    code: 2,
    err: expect.stringContaining("expected one of: hello") as string,
  });
  expect(await madformer("verify", "q")).toMatchObject({
    code: 2,
    err: expect.stringContaining("it is no JSON") as string,
  });
});

test("looks into the points of sweeps, too: of all of them, or of one sweep", async () => {
  for (const point of ["sweeps/out/s/pipelines/a", "sweeps/out/s/pipelines/b", "sweeps/out/t/pipelines/a"]) {
    await mkdir(join(root, point), { recursive: true });
    await writeFile(join(root, point, "pipeline.json"), JSON.stringify({ hello: {} }));
    await runHello(point);
  }
  expect((await madformer("verify")).out).toMatch(/^Looked at 3 stages and .* nothing is wrong\n$/);
  expect((await madformer("verify", "s")).out).toMatch(/^Looked at 2 stages and \d+ objects .* nothing is wrong\n$/);
  await rm(join(root, "sweeps/out/s/pipelines/b/out/hello/files/hello.txt"));
  expect((await madformer("verify", "t")).out).toContain("nothing is wrong");
  expect((await madformer("verify", "s", "hello", "--dry-run")).out).toContain("! s/b/hello: ");
  const object = (await runHello()).objectPath(sha256("hello"));
  await chmod(object, 0o644);
  await writeFile(object, "jello");
  const { code, out } = await madformer("verify", "s");
  expect([code, out.match(/^npm run .*$/gm)]).toEqual([1, ["npm run sweep -- s makes again what is missing"]]);
  expect((await madformer("verify", "s", "x")).err).toContain("expected one of: hello");
});
