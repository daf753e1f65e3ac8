/**
 * Where the caller's own code is: the first frame of the stack that belongs neither to tfjs nor to this package.
 *
 * @returns `path:line:column`, or "an unknown place".
 */
export function callSite(stack: string | undefined = new Error().stack): string {
  const frames = (stack ?? "").split("\n").filter((line) => line.trimStart().startsWith("at "));
  const own = frames.find(
    (line) => !/node_modules|node:internal|\/engine\/(src|dist)\/(trace|runtime|ir|ops)\/(?!.*\.test\.)/.test(line),
  );
  return own?.match(/\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/)?.[1] ?? "an unknown place";
}
