import type { DeviceMemory } from "./client.js";
import type { CompiledMemory } from "./executable.js";
import { gibibytes } from "./state.js";

/**
 * Looks whether a program can run on a device at all, before it does: with everything else gone from it.
 *
 * @throws {RangeError} If it needs more than there is: what it needs, of what.
 */
export function requireFits(program: string, needs: CompiledMemory | undefined, device: DeviceMemory): void {
  if (needs === undefined) return;
  const total = needs.arguments + needs.outputs - needs.alias + needs.temporary + needs.code;
  if (total <= device.limit) return;
  throw new RangeError(
    `Program "${program}" needs ${gibibytes(total)} of the device's memory, which has ${gibibytes(device.limit)} ` +
      `(${gibibytes(device.used)} in use): ${needsText(needs)}`,
  );
}

/** What a program takes, for people. */
export function needsText({ arguments: given, outputs, alias, temporary }: CompiledMemory): string {
  return (
    `state and inputs ${gibibytes(given)}, results ${gibibytes(outputs)} of which ${gibibytes(alias)} ` +
    `take the place of state, temporary ${gibibytes(temporary)}`
  );
}
