/**
 * As much of the WebAssembly interface as is used here: Node has it, its type declarations leave it to the browser's.
 */
interface WebAssemblyInterface {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Memory: {
    new (size: { readonly initial: number }): WebAssemblyMemory;
    new (size: {
      readonly initial: number;
      readonly maximum: number;
      readonly shared: true;
    }): WebAssemblyMemory<SharedArrayBuffer>;
  };
  readonly Instance: new (
    module: object,
    imports: { readonly env: { readonly memory: WebAssemblyMemory<ArrayBuffer | SharedArrayBuffer> } },
  ) => { readonly exports: object };
}

export interface WebAssemblyMemory<Bytes = ArrayBuffer> {
  readonly buffer: Bytes;
}

export const WebAssembly = (globalThis as unknown as { readonly WebAssembly: WebAssemblyInterface }).WebAssembly;

/** Bytes of a page, the unit that memory is counted in. */
export const PAGE_BYTES = 65536;
