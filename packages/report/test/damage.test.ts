/** Whatever happens to the page, the same command again makes the same manifest. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reportStage } from "@madformer/report";
import { parseConfig, tryDamage } from "@madformer/stage";
import { fixtureRun } from "./fixture/run.js";

test("stage report makes the same page again if it is damaged or lost", async () => {
  const folder = await mkdtemp(join(tmpdir(), "report-"));
  try {
    const inputs = await fixtureRun(join(folder, "run"));
    const config = parseConfig(reportStage, { title: "A run" });
    expect(await tryDamage({ stage: reportStage, config, inputs }, join(folder, "report"))).toEqual({
      files: ["index.html"],
      left: [],
      problems: [],
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});
