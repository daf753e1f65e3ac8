import koffi from "koffi";

/** Bytes of stack that native code gets. Runtimes recurse over graphs when they load one. */
const STACK_BYTES = 16 << 20;

/**
 * Native code runs on stacks of koffi's own, whose size is fixed when the process loads its first library with koffi.
 */
export function reserveStacks(): void {
  const { sync_stack_size, async_stack_size } = koffi.config();
  if (Math.min(sync_stack_size ?? 0, async_stack_size ?? 0) >= STACK_BYTES) return;
  try {
    koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES });
  } catch (cause) {
    throw new Error(
      `koffi was used before the engine, with stacks of ${async_stack_size} bytes; engines need ${STACK_BYTES}. ` +
        `Compile a first program before other libraries are loaded, or set async_stack_size and sync_stack_size`,
      { cause },
    );
  }
}
