import { engineStates, type EngineName } from "@madformer/engine";

/** Engines that npm does not bring. */
export const FETCHED = engineStates().filter(({ name }) => name !== "onnx" && name !== "cpu");

/** Those that are installed: tests of what every engine does run on them, too. */
export const INSTALLED: readonly EngineName[] = FETCHED.filter(({ problem }) => problem === undefined).map(
  ({ name }) => name,
);

/** A group of tests of one such engine; where that is not installed, one skipped test that says why. */
export function describeInstalled(name: EngineName, body: () => void): void {
  const state = FETCHED.find((one) => one.name === name);
  if (state?.problem === undefined) describe(`engine ${name}`, body);
  else test.skip(`engine ${name} (skipped: ${state.problem})`, () => undefined);
}
