import type { Artifact } from "@madformer/artifacts";
import type { StageName } from "../inputs.js";
import { traceLineage } from "./lineage.js";

const digest = (name: string): string => Buffer.from(name.padEnd(32, "."), "utf8").toString("hex");

function artifact(
  stage: string,
  inputs: Record<string, [stage: string, name: string]> = {},
  more: object = {},
): Artifact {
  const own = digest((more as { name?: string }).name ?? stage);
  const links = Object.entries(inputs).map(([input, [stage, name]]) => [input, { stage, digest: digest(name) }]);
  const record = { manifest: own, inputs: Object.fromEntries(links) as object, ...more };
  return { digest: own, manifest: { stage, facts: {}, files: {} }, record } as unknown as Artifact;
}
const trace = (...entries: [StageName, Artifact][]) => traceLineage(new Map(entries));

describe("traceLineage()", () => {
  const shards = artifact("shards");
  const latents = artifact("latents", { shards: ["shards", "shards"] });

  test("follows digests, and lists each stage before what it was made from", () => {
    const { nodes, confirmed, problems } = trace(
      ["shards", shards],
      ["latents", latents],
      ["train", artifact("train", { latents: ["latents", "latents"] })],
    );
    expect(nodes.map(({ name }) => name)).toEqual(["train", "latents", "shards"]);
    expect(nodes[0]?.links).toEqual([
      { input: "latents", stage: "latents", digest: digest("latents"), to: "latents", differs: false },
    ]);
    expect([confirmed, problems]).toEqual([2, []]);
  });

  test("has nothing against inputs that are not on the page", () => {
    const { nodes, confirmed, problems } = trace(["latents", latents]);
    expect(nodes[0]?.links[0]).toMatchObject({ to: undefined, differs: false });
    expect([confirmed, problems]).toEqual([0, []]);
  });

  test("says that a stage was made from another output than the one on the page", () => {
    const other = artifact("latents", { shards: ["shards", "older"] });
    expect(trace(["shards", shards], ["latents", other]).problems).toEqual([
      `Latents was made from another shards than the one on this page: ${digest("older").slice(0, 12)}, recorded as its input "shards"`,
    ]);
  });

  test("takes what a run goes on from for a run before it, not for another one", () => {
    for (const stage of ["train", "export"]) {
      const train = artifact("train", { from: [stage, "parent"] });
      const { nodes, problems } = trace(
        ["train", train],
        ["export", artifact("export", { train: ["train", "train"] })],
      );
      expect(nodes[1]?.links).toEqual([
        { input: "from", stage, digest: digest("parent"), to: undefined, differs: false },
      ]);
      expect(problems).toEqual([]);
    }
  });

  test("says that a record is about another output", () => {
    const moved = artifact("shards", {}, { manifest: digest("x") });
    expect(trace(["shards", moved]).problems).toEqual([
      `The record of Image shards is about another output: ${digest("x").slice(0, 12)}, not ${digest("shards").slice(0, 12)}`,
    ]);
  });

  test("says that features come from different networks", () => {
    const features = (name: string, network: string): Artifact => {
      const made = artifact("features", {}, { name });
      return { ...made, manifest: { ...made.manifest, facts: { networkDigest: network } } };
    };
    const a = features("a", "1");
    expect(trace(["reference", a], ["features", features("b", "1")]).problems).toEqual([]);
    expect(trace(["reference", a], ["features", features("b", "2")]).problems).toEqual([
      "The features of the data and those of the samples come from different networks",
    ]);
  });

  test("ends where records claim a circle, and lists each stage once", () => {
    const a = artifact("vae", { shards: ["shards", "shards"] });
    const b = artifact("shards", { vae: ["vae", "vae"], self: ["shards", "shards"] });
    expect(
      trace(["shards", b], ["vae", a])
        .nodes.map(({ name }) => name)
        .sort(),
    ).toEqual(["shards", "vae"]);
  });

  test("needs no record", () => {
    const { nodes } = trace(["shards", { ...shards, record: undefined }]);
    expect(nodes).toMatchObject([{ name: "shards", links: [] }]);
  });
});
