import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { lendingRequire } from "./modules.js";

let folder = "";
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "modules-"))));
afterEach(() => rm(folder, { recursive: true, force: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), text);
}

describe("lendingRequire()", () => {
  test("gives files what is lent to them, even where a package of that name lies nearer", async () => {
    await write("node_modules/tensors/index.js", "throw new Error('another one');");
    await write("node_modules/other/index.js", "module.exports = 'other';");
    await write("it/index.js", "exports.all = [require('tensors'), require('./deep/part').all, require('other')];");
    await write("it/deep/part.js", "exports.all = [require('tensors'), require('../data.json').n, __filename];");
    await write("it/data.json", '{ "n": 3 }');
    const tensors = { ours: true };
    const require = lendingRequire(join(folder, "it", "package.json"), new Map([["tensors", tensors]]));
    const { all } = require("./index.js") as { all: unknown[] };
    expect(all).toEqual([tensors, [tensors, 3, join(folder, "it", "deep", "part.js")], "other"]);
    expect(all[0]).toBe(tensors);
  });

  test("runs each file once, and closes circles as Node does", async () => {
    await write("a.js", "exports.early = 1; exports.b = require('./b'); exports.late = 2;");
    await write("b.js", "const a = require('./a'); exports.seen = { ...a }; exports.same = a;");
    const require = lendingRequire(join(folder, "package.json"), new Map());
    const a = require("./a") as { b: { seen: object; same: unknown } };
    expect(a.b.seen).toEqual({ early: 1 });
    expect(a.b.same).toBe(a);
    expect(require("./a.js")).toBe(a);
  });
});
