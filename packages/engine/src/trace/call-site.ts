/**
 * Where the caller's own code is: the first frame of the stack that belongs neither to tfjs nor to this package.
 *
 * @returns `path:line:column`, or "an unknown place".
 */
export function callSite(stack = wholeStack()): string {
  const frames = stack.split("\n").filter((line) => /^\s*at .*:\d+:\d+\)?$/.test(line)); // not those of `Array.map`
  // Source maps place the files of tfjs elsewhere: "tfjs-core/src/engine.ts".
  const other =
    /node_modules|node:internal|\/tfjs-[a-z-]+\/src\/|\/engine\/(src|dist)\/(trace|runtime|ir|ops)\/(?!.*\.test\.)/;
  const own = frames.find((line) => !other.test(line));
  return own?.match(/\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/)?.[1] ?? "an unknown place";
}

/** The stack of the caller; by default JavaScript keeps ten frames, and tfjs alone may have more. */
function wholeStack(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 100;
  const { stack = "" } = new Error();
  Error.stackTraceLimit = limit;
  return stack;
}
