import { isNamespace, TorchTensor, formatShape, type TorchValue } from "@madformer/artifacts";

/** A value as Python prints it, in about `width` characters. Long ones end in `...`. */
export function pythonRepr(value: TorchValue, width = 100): string {
  const parts: string[] = [];
  let left = width;
  const write = (text: string): void => {
    if (left < 0) return;
    parts.push(text.length > left ? `${text.slice(0, left)}...` : text);
    left -= text.length;
  };
  const list = (items: Iterable<TorchValue>, open: string, close: string): void => {
    write(open);
    let index = 0;
    for (const item of items) {
      if (left < 0) return; // also what bounds the time, for a value that repeats itself
      if (index++) write(", ");
      walk(item);
    }
    write(close === ")" && index === 1 ? ",)" : close);
  };
  const pairs = (
    items: Iterable<readonly [string, TorchValue]>,
    open: string,
    separator: string,
    close: string,
  ): void => {
    write(open);
    let index = 0;
    for (const [key, item] of items) {
      if (left < 0) return;
      if (index++) write(", ");
      write(`${key}${separator}`);
      walk(item);
    }
    write(close);
  };
  const walk = (item: TorchValue): void => {
    if (item === null) write("None");
    else if (typeof item === "boolean") write(item ? "True" : "False");
    else if (typeof item === "string") write(quoted(item.slice(0, width + 1)));
    else if (typeof item === "bigint") write(String(item));
    else if (typeof item === "number")
      write(Number.isFinite(item) ? String(item) : Number.isNaN(item) ? "nan" : item > 0 ? "inf" : "-inf");
    else if (item instanceof TorchTensor) write(`<tensor ${item.dtype} ${formatShape(item.shape)}>`);
    else if (item instanceof Uint8Array) write(`<${item.length} bytes>`);
    else if (item instanceof Set) list(item as ReadonlySet<TorchValue>, "{", "}");
    else if (item instanceof Map) pairs(keyed(item), "{", ": ", "}");
    else if (Array.isArray(item))
      list(item as TorchValue[], Object.isFrozen(item) ? "(" : "[", Object.isFrozen(item) ? ")" : "]");
    else if (isNamespace(item)) pairs(Object.entries(item.fields), "Namespace(", "=", ")");
    else write(objectRepr(item as { readonly kind: string }));
  };
  const keyed = function* (map: ReadonlyMap<TorchValue, TorchValue>): Generator<readonly [string, TorchValue]> {
    for (const [key, item] of map) yield [pythonRepr(key, 40), item];
  };
  walk(value);
  return parts.join("");
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n")}'`;
}

function objectRepr(value: { readonly kind: string }): string {
  const { kind, ...fields } = value;
  const values = Object.values(fields).filter((field) => typeof field === "string" || typeof field === "number");
  return `<${kind} ${values.join(" ")}>`;
}
