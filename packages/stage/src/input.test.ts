import { assertMadeBy, isMadeBy } from "./input.js";

const spec = { summary: "A model", stages: ["export", "train"] };

test("an input is what one of its stages made, or nobody did; or anything where no stage is named", () => {
  expect(["export", "train", "folder", "latents"].map((stage) => isMadeBy(spec, stage))).toEqual([
    true,
    true,
    true,
    false,
  ]);
  expect(isMadeBy({ summary: "Anything" }, "latents")).toBe(true);
});

test("assertMadeBy() says which stage to run", () => {
  expect(() => assertMadeBy("It", spec, "latents")).toThrow(
    'It is what stage "latents" made, expected what "export" or "train" makes (A model): run stage "export" first',
  );
});
