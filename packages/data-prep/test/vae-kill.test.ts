/**
 * A process that trains an autoencoder is killed with SIGKILL, again and again; what is left is what one leaves in
 * peace.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { shardImage, shardsOf } from "../src/codec/testing.js";
import { digestsOf, inFolder } from "../src/testing.js";

interface Ended {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly errors: string;
  /** The first step it reported. */
  readonly first: number;
}

/** @param killAt Killed when it reports this step; a few milliseconds later, so that any moment can be hit. */
async function train(shards: string, out: string, killAt = Infinity, delayMs = 0): Promise<Ended> {
  const script = fileURLToPath(new URL("vae-child.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", script, shards, out]);
  let [text, errors, killed, first] = ["", "", false, 0];
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString();
    const steps = [...text.matchAll(/^steps (\d+)$/gm)].map(([, step]) => Number(step));
    first ||= steps[0] ?? 0;
    if (killed || (steps.at(-1) ?? 0) < killAt) return;
    killed = true;
    setTimeout(() => child.kill("SIGKILL"), delayMs);
  });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.on("close", (code, signal) => resolve([code, signal])),
  );
  return { code, signal, errors, first };
}

test("a training that is killed again and again ends with the same bytes", () =>
  inFolder(async (folder) => {
    const shards = join(folder, "shards");
    const images = Array.from({ length: 9 }, (_, i) => shardImage(i, 8));
    await shardsOf(shards, [images]);
    const [peace, war] = [join(folder, "peace"), join(folder, "war")];
    expect(await train(shards, peace)).toMatchObject({ code: 0, errors: "", first: 1 });

    const firsts: number[] = [];
    for (const killAt of [3, 14, 30, 45]) {
      const { signal, errors, first } = await train(shards, war, killAt, Math.random() * 4);
      expect({ signal, errors, killAt }).toEqual({ signal: "SIGKILL", errors: "", killAt });
      firsts.push(first);
    }
    const last = await train(shards, war);
    expect(last).toMatchObject({ code: 0, errors: "" });
    expect(await digestsOf(war)).toEqual(await digestsOf(peace));
    // It went on from checkpoints, which are made every seven steps.
    for (const first of [...firsts, last.first]) expect(first % 7).toBe(1);
    expect(last.first).toBeGreaterThan(1);
  }));
