/** What a stage is to compute with, as somebody wrote it. */
export interface ComputeWords {
  readonly engine?: string | undefined;
  readonly precision?: string | undefined;
  readonly threads?: number | undefined;
}

export const VARIABLES: Readonly<Record<keyof ComputeWords, string>>;
export const ENGINES_VARIABLE: string;
export const PLUGIN_VARIABLE: string;
export function askedOf(words: ComputeWords): Record<string, string>;
