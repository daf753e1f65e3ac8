/** Key in a model's metadata under which a program writes its name. */
export const PROGRAM_KEY = "madformer.program";

/** What a program writes into the metadata of its model: its name, and which state a run changes. */
export function programMetadata(name: string, updated: ReadonlySet<string>): Record<string, string> {
  return { [PROGRAM_KEY]: JSON.stringify({ name, updated: [...updated] }) };
}
