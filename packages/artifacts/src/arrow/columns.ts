/** What a column holds: text, bytes, a whole number, or a vector of this many numbers. */
export type ColumnType = "utf8" | "binary" | "int32" | { readonly float32: number };

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable?: boolean;
}

/** A value of a column. */
export type Cell = string | Uint8Array | number | Float32Array | null;

/** As a message shows it. */
export function formatType({ type, nullable }: Pick<Column, "type" | "nullable">): string {
  return `${typeof type === "string" ? type : `float32[${type.float32}]`}${nullable ? " or null" : ""}`;
}
