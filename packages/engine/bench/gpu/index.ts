export * from "./steps.js";
export * from "./tell.js";
