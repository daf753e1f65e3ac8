/** Data that a stage cannot use: missing, damaged, or not what was expected. */
export class DataError extends Error {
  override readonly name = "DataError";
}
