import { checkPipeline } from "../../packages/stage/plain/pipeline-file.mjs";
import { highestSeed, repeatedStages, sampledChain } from "./repeats.mjs";

const PIPELINE = {
  shards: {},
  export: {},
  sample: { needs: { checkpoint: "export" }, config: { seeds: "0-31", steps: 4 } },
  "features-data": { uses: "features", needs: { images: "shards" } },
  features: { needs: { images: "sample" } },
  score: { needs: { reference: "features-data", samples: "features" }, config: { last: 2 } },
};
const { stages } = checkPipeline(PIPELINE, "pipeline.json", "some");

test("the chain leads from sampling to the score", () => {
  expect(sampledChain(stages, "score")).toEqual({ sample: "sample", chain: ["sample", "features", "score"] });
  expect(() => sampledChain(stages, "features-data")).toThrow(
    'stage "features-data" scores no samples of a stage "sample"',
  );
});

test("repeats are the same chain with seeds that nobody had before, and make a valid pipeline", () => {
  const { chain } = sampledChain(stages, "score");
  const { stages: added, scores } = repeatedStages(stages, chain, { count: 32, highest: 31 }, 2);
  expect(scores).toEqual(["repeat-1-score", "repeat-2-score"]);
  expect(added["repeat-1-sample"]).toEqual({
    uses: "sample",
    needs: { checkpoint: "export" },
    config: { seeds: "32-63", steps: 4 },
  });
  expect(added["repeat-2-sample"]?.config).toEqual({ seeds: "64-95", steps: 4 });
  expect(added["repeat-2-score"]).toEqual({
    uses: "score",
    needs: { reference: "features-data", samples: "repeat-2-features" },
    config: { last: 2 },
  });
  expect(checkPipeline({ ...PIPELINE, ...added }, "pipeline.json", "some").stages).toHaveLength(6 + 2 * 3);
});

test("the highest seed of a text is found", () => {
  expect(highestSeed("0-31")).toBe(31);
  expect(highestSeed("100, 3-7,12")).toBe(100);
  for (const text of ["", "a", "1.5", "0--3"]) expect(() => highestSeed(text)).toThrow('expected such as "0-31"');
});
