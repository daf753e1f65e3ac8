import { TestEnvironment } from "jest-environment-node";

/**
 * Jest runs a test file in a realm of its own, with constructors of its own. Native addons such as ONNX Runtime make
 * and recognize the main realm's typed arrays: without this they reject a Float32Array made inside a test, and what
 * they return is no `instanceof Float32Array` there. (jest-environment-node shares Uint8Array and ArrayBuffer already.)
 */
const SHARED = [
  "BigInt64Array",
  "BigUint64Array",
  "Float32Array",
  "Float64Array",
  "Int8Array",
  "Int16Array",
  "Int32Array",
  "SharedArrayBuffer",
  "Uint16Array",
  "Uint32Array",
  "Uint8ClampedArray",
  "Float16Array", // from Node 24 on
];

export default class NativeAddonEnvironment extends TestEnvironment {
  /** @param {ConstructorParameters<typeof TestEnvironment>} args */
  constructor(...args) {
    super(...args);
    for (const name of SHARED) if (name in globalThis) Reflect.set(this.global, name, Reflect.get(globalThis, name));
  }
}
