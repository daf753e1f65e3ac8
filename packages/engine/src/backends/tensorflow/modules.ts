import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { compileFunction } from "node:vm";

type Require = (name: string) => unknown;

/**
 * A `require` for CommonJS files of a package that lies anywhere, which gets some modules from us.
 *
 * Node looks for `@tensorflow/tfjs` upwards from the file that asks for it. Where engines lie outside of the checkout
 * there is none, or that of another project, whose tensors are not ours: kernels would be registered there.
 *
 * @param path A file of the package: what it requires by a relative path is loaded in the same way, all else by Node,
 *   from where the file lies.
 * @param lent Modules by the names that files ask for.
 */
export function lendingRequire(path: string, lent: ReadonlyMap<string, unknown>): Require {
  const loaded = new Map<string, { exports: unknown }>();
  const from = (file: string): Require => {
    const require = createRequire(file);
    return (name) => {
      if (lent.has(name)) return lent.get(name);
      return name.startsWith(".") ? load(fileAt(join(dirname(file), name))) : (require(name) as unknown);
    };
  };
  const load = (file: string): unknown => {
    const known = loaded.get(file);
    if (known) return known.exports; // of a circle, what there is so far
    const module = { exports: {} as unknown };
    loaded.set(file, module);
    const code = readFileSync(file, "utf8");
    if (file.endsWith(".json")) return (module.exports = JSON.parse(code) as unknown);
    const names = ["exports", "require", "module", "__filename", "__dirname"];
    const body = compileFunction(code, names, { filename: file }) as (...args: unknown[]) => void;
    body.call(module.exports, module.exports, from(file), module, file, dirname(file));
    return module.exports;
  };
  return from(path);
}

/** Files are required with their ending or without. */
const fileAt = (path: string): string => (/\.(js|json)$/.test(path) ? path : `${path}.js`);
