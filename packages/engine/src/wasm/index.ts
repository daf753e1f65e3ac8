/** An assembler for WebAssembly, and the little of its interface that Node's types leave out. */
export * from "./assembler.js";
export { PAGE_BYTES, WebAssembly, type WebAssemblyMemory } from "./webassembly.js";
