import { isNamespace, TorchTensor, type TorchValue } from "@madformer/artifacts";
import { childrenOf, type Summary } from "./summary.js";

/** A summary as JSON. Of a PyTorch file, `value` is all that is no tensor; a tensor in it is `{ "tensor": name }`. */
export function summaryToJson({ path, kind, fileBytes, metadata, tensors, leftOut, value }: Summary): unknown {
  return {
    path,
    kind,
    fileBytes,
    ...(kind === "safetensors" ? { metadata } : {}),
    tensors: tensors.map(({ name, dtype, shape, elements, sizeBytes, stats }) => ({
      name,
      dtype,
      shape,
      elements,
      bytes: sizeBytes,
      ...(stats === undefined ? {} : { stats }),
    })),
    totals: {
      tensors: tensors.length,
      elements: tensors.reduce((sum, { elements }) => sum + elements, 0),
      bytes: tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      ...(leftOut ? { leftOut } : {}),
    },
    ...(value === undefined ? {} : { value: valueToJson(value, "") }),
  };
}

/** Numbers that JSON has not are text: "nan", "inf", "-inf", and integers past 2⁵³. */
function valueToJson(value: TorchValue, name: string): unknown {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") {
    if (Number.isFinite(value)) return value;
    return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  }
  if (value instanceof TorchTensor) return { tensor: name };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("base64") };
  if (value instanceof Set) return [...(value as ReadonlySet<TorchValue>)].map((item) => valueToJson(item, name));
  const prefix = name === "" ? "" : `${name}.`;
  const children = [...childrenOf(value)].map(([key, child]) => [key, valueToJson(child, prefix + key)] as const);
  if (Array.isArray(value)) return children.map(([, child]) => child);
  if (value instanceof Map || isNamespace(value)) return Object.fromEntries(children);
  return value; // device, dtype, layout, complex, global: plain already
}
