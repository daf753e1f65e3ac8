import { z } from "zod";
import { madformerConfig, ModelConfigError, type MadformerConfig } from "./config.js";

const Step = z.int().nonnegative().describe("Updates that the weights have had");

/**
 * What `config.json` says beside weights, whoever wrote it: `train` (which says how it was trained), `export` (a copy
 * of that) or `import`. Further fields say where they came from.
 */
const TrainedConfigFile = z.looseObject({
  format: z.literal(1),
  model: z.unknown(),
  step: Step,
  training: z.looseObject({}).optional(),
});

/** A trained model, as `config.json` beside its weights describes it. */
export interface TrainedConfig {
  readonly model: MadformerConfig;
  readonly step: number;
  /** How it was trained: the config of the stage `train` without the model, and `images`, how many there were. */
  readonly training?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Reads the value of a `config.json`.
 *
 * @throws {ModelConfigError} Naming every field that is missing or of the wrong kind.
 */
export function trainedConfig(value: unknown): TrainedConfig {
  const { success, data, error } = TrainedConfigFile.safeParse(value);
  if (success) return { model: madformerConfig(data.model as never), step: data.step, training: data.training };
  const problems = error.issues.map(({ path, message }) => `${path.join(".") || "it"}: ${message}`);
  throw new ModelConfigError(problems.join("; "), { cause: error });
}

/** The text of a `config.json`. @param origin Further fields: where the weights came from. */
export function trainedConfigText({ model, training, step }: TrainedConfig, origin: object = {}): string {
  const told = { format: 1, model, ...(training === undefined ? {} : { training }), step, ...origin };
  return `${JSON.stringify(told, null, 2)}\n`;
}
