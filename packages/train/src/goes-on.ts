import { differ } from "@madformer/stage";
import type { TrainSettings } from "./config.js";

/**
 * Whether a run can become a longer one where it is. Its steps so far must be those that the longer one would have
 * made: then the folder is in the end what it would have been at once.
 *
 * @returns True; or why not, as a clause; or undefined if not just its length is another.
 */
export function goesOn(before: unknown, now: TrainSettings): true | string | undefined {
  const lengths = ["steps", "epochs"] as const;
  const [then, asked] = [before as TrainSettings, now];
  const others = differ(without(then, lengths), without(asked, lengths));
  if (others.length > 0) return undefined;
  const more = [then.epochs, asked.epochs].every((epochs) => epochs === undefined)
    ? asked.steps > then.steps
    : (asked.epochs ?? 0) > (then.epochs ?? Infinity);
  if (!more)
    return "a run can go on to more steps, or more epochs, not to fewer; earlier checkpoints can be sampled as they are (sample --checkpoints)";
  if (now.schedule.kind !== "constant")
    return (
      `the schedule "${now.schedule.kind}" spans all steps, so those that were made would have had other learning rates; ` +
      'a new folder and --from this one go on from its last checkpoint, or train with the schedule "constant"'
    );
  if (now.keepAt.length > 0)
    return "keepAt names shares of all steps, so other checkpoints would have been kept; a new folder and --from this one go on from its last checkpoint";
  return true;
}

function without(settings: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !names.includes(name)));
}
