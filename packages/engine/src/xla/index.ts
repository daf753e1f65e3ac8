export { lowerToStableHlo, type LoweringOptions } from "./lower.js";
export type { ProductPrecision } from "./builder.js";
