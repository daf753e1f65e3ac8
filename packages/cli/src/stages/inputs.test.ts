import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openInput } from "./inputs.js";

const VAE = { summary: "An autoencoder", stages: ["vae"] };
const FROM = { summary: "A run", stages: ["train", "export"], unfinished: true };

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "inputs-"));
  for (const stage of ["vae", "train", "latents"]) await made(`runs/${stage}`, stage);
  await made("runs/second/vae", "vae");
  for (const folder of ["runs/begun", "runs/begun-train", "plain", "empty", "runs/vae/files"])
    await mkdir(join(root, folder), { recursive: true });
  await writeFile(join(root, "runs/begun/.madformer.json"), JSON.stringify({ stage: "vae" }));
  await writeFile(join(root, "runs/begun-train/.madformer.json"), JSON.stringify({ stage: "train" }));
  await writeFile(join(root, "plain/codec.json"), "{}");
});
afterAll(() => rm(root, { recursive: true }));

async function made(folder: string, stage: string): Promise<void> {
  await mkdir(join(root, folder), { recursive: true });
  await writeFile(join(root, folder, "manifest.json"), JSON.stringify({ format: 1, stage, facts: {}, files: {} }));
}

const open = (folder: string, input: object = VAE) => openInput(join(root, folder), "vae", input as typeof VAE);

describe("openInput()", () => {
  test("takes what the right stage made, and a folder that none did", async () => {
    expect((await open("runs/vae")).manifest.stage).toBe("vae");
    expect((await open("plain")).manifest.stage).toBe("folder");
    expect((await open("empty")).manifest.stage).toBe("folder");
    expect((await open("runs/latents", { summary: "Anything" })).manifest.stage).toBe("latents");
    expect((await open("runs/train", FROM)).manifest.stage).toBe("train");
  });

  test.each([
    ["runs/train", /is what stage "train" made, expected what "vae" makes \(An autoencoder\): run stage "vae" first/],
    ["runs/train", /; did you mean ".*runs.vae" or ".*runs.second.vae"\?$/],
    ["runs/vea", /\(--vae\): there is no such folder; did you mean ".*runs.vae" or/],
    ["runs/vae/missing", /there is no such folder; did you mean ".*runs.vae"/],
    ["runs/vae/manifest.json", /it is a file, expected a folder; did you mean ".*runs.vae"/],
    ["runs", /"runs" is not what a stage made; did you mean ".*runs.vae" or|is not what a stage made; did you mean/],
    ["runs/old/vae", /there is no such folder; did you mean ".*runs.vae" or/],
    ["runs/begun", /is not finished: give the command \(madformer vae \.\.\.\) again/],
    ["runs/begun-train", /is what stage "train" made/],
  ])("refuses %s, and says what is meant", async (folder, message) => {
    await expect(open(folder)).rejects.toThrow(message);
  });

  test("takes a single file where the stage does", async () => {
    await writeFile(join(root, "plain/codec.npz"), "x");
    const either = { ...VAE, file: ".npz" };
    const opened = await open("plain/codec.npz", either);
    expect([opened.manifest.stage, opened.files]).toEqual(["folder", ["codec.npz"]]);
    expect(await opened.path("codec.npz")).toBe(join(root, "plain/codec.npz"));
    expect((await open("runs/vae", either)).manifest.stage).toBe("vae");
    await expect(open("plain/codec.npz")).rejects.toThrow(/it is a file, expected a folder(;|$)/);
    await expect(open("plain/none.npz", either)).rejects.toThrow(/there is no such folder or file/);
    await expect(open("plain/codec.json", either)).rejects.toThrow(/it is a file, expected a folder or a \.npz file/);
  });

  test("says what is meant by a folder that lacks a file, and gives those that it has", async () => {
    const [plain, within] = [await open("plain"), await open("runs/vae/files")];
    expect(await plain.path("codec.json")).toBe(join(root, "plain/codec.json"));
    await expect(within.path("codec.json")).rejects.toThrow(
      /^--vae: ".*files" has no file "codec.json", and no stage made it; did you mean ".*runs.vae"/,
    );
  });

  test("takes what an interrupted run has left where the stage does, and says how far it came", async () => {
    const begun = await open("runs/begun-train", FROM);
    expect(begun.manifest.stage).toBe("folder");
    await expect(begun.path("config.json")).rejects.toThrow(
      /begun-train" has no file "config.json", which stage "train" did not come to/,
    );
    await expect(open("runs/begun", FROM)).rejects.toThrow('expected what "train" or "export" makes');
  });
});
