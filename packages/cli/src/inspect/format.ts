import { formatShape, isNamespace, OrderedDict, TorchTensor, type TorchValue } from "@madformer/artifacts";
import { pythonRepr } from "./repr.js";
import { childrenOf, type Summary, type TensorSummary } from "./summary.js";
import { formatTable, printable, type Row } from "./table.js";

const KINDS = { safetensors: "safetensors", torch: "PyTorch", npz: "numpy archive", npy: "numpy array" } as const;

/** A tree may repeat parts of itself; no terminal needs more than this. */
const MAX_ROWS = 100_000;

/** A summary for people: a line of totals, metadata, then a table or a tree. */
export function formatSummary(summary: Summary): string {
  const { path, kind, fileBytes, metadata, tensors, leftOut, value } = summary;
  const elements = tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0);
  const totals = [
    `${count(tensors.length, "tensor")}${leftOut ? ` of ${(tensors.length + leftOut).toLocaleString("en")}` : ""}`,
    count(elements, kind === "npz" || kind === "npy" ? "element" : "parameter"),
    `${formatBytes(bytes)} of data`,
    `${formatBytes(fileBytes)} in all`,
  ];
  const parts = [`${printable(path)}: ${KINDS[kind]}, ${totals.join(", ")}\n`];
  const strings = Object.entries(metadata);
  if (strings.length)
    parts.push(`metadata\n${formatTable(strings.map(([key, text]) => ({ depth: 1, name: key, text })))}`);

  const withStats = tensors.some(({ stats }) => stats !== undefined);
  const header: Row = { depth: 0, name: "name", cells: ["dtype", "shape", "elements", ...(withStats ? STATS : [])] };
  if (value === undefined) {
    if (tensors.length)
      parts.push(formatTable([header, ...tensors.map((tensor) => tensorRow(tensor, 0, tensor.name || "(the array)"))]));
  } else {
    const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    const rows: Row[] = [];
    treeRows(value, "", 0, byName, rows);
    parts.push(formatTable([header, ...rows.slice(0, MAX_ROWS)]));
    if (rows.length > MAX_ROWS)
      parts.push(`... and more: only the first ${MAX_ROWS.toLocaleString("en")} lines are shown\n`);
  }
  return parts.join("\n");
}

const STATS = ["min", "max", "mean", "std"];

function tensorRow({ dtype, shape, elements, stats }: TensorSummary, depth: number, name: string): Row {
  const cells = [printable(dtype), formatShape(shape), elements.toLocaleString("en")];
  if (stats === null) cells.push("", "", "", "", "no finite element");
  else if (stats) {
    cells.push(...[stats.min, stats.max, stats.mean, stats.std].map(formatNumber));
    if (stats.nonFinite) cells.push(`${stats.nonFinite.toLocaleString("en")} NaN or infinite`);
  }
  return { depth, name, cells };
}

/**
 * The lines of a PyTorch value: dicts and Namespaces by their fields, an optimizer in short, the rest as Python prints
 * it.
 */
function treeRows(
  value: TorchValue,
  name: string,
  depth: number,
  tensors: ReadonlyMap<string, TensorSummary>,
  rows: Row[],
): void {
  const last = name.slice(name.lastIndexOf("\0") + 1) || "(the value)";
  const dotted = name.replaceAll("\0", ".");
  if (rows.length > MAX_ROWS) return;
  const known = value instanceof TorchTensor ? tensors.get(dotted) : undefined;
  if (known) rows.push(tensorRow(known, depth, last));
  else if (isOptimizer(value)) rows.push(...optimizerRows(value, depth, last));
  else if (holdsMore(value)) {
    const isRoot = name === "";
    if (!isRoot) rows.push({ depth, name: last, text: describe(value) });
    for (const [key, child] of childrenOf(value))
      treeRows(child, isRoot ? key : `${name}\0${key}`, isRoot ? 0 : depth + 1, tensors, rows);
  } else rows.push({ depth, name: last, text: pythonRepr(value) });
}

/**
 * Whether a value gets lines of its own: dicts with something in them, Namespaces, and lists that hold tensors or
 * dicts.
 */
function holdsMore(value: TorchValue): boolean {
  if (value instanceof Map) return value.size > 0;
  if (Array.isArray(value))
    return (value as TorchValue[]).some((item) => item instanceof TorchTensor || holdsMore(item));
  return isNamespace(value);
}

function describe(value: TorchValue): string {
  const children = [...childrenOf(value)].map(([, child]) => child);
  if (isNamespace(value)) return `Namespace, ${count(children.length, "field")}`;
  const kind =
    value instanceof OrderedDict
      ? "OrderedDict"
      : value instanceof Map
        ? "dict"
        : Object.isFrozen(value)
          ? "tuple"
          : "list";
  const tensors = children.filter((child) => child instanceof TorchTensor);
  if (!tensors.length || tensors.length < children.length)
    return `${kind}, ${count(children.length, value instanceof Map ? "entry" : "item")}`;
  const elements = tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
  return `${kind}, ${count(tensors.length, "tensor")}, ${count(elements, "parameter")}`;
}

type Dict = ReadonlyMap<TorchValue, TorchValue>;

/** What `torch.optim.Optimizer.state_dict()` gives. */
function isOptimizer(value: TorchValue): value is Dict {
  const groups = value instanceof Map ? (value as Dict).get("param_groups") : undefined;
  return (
    value instanceof Map &&
    (value as Dict).get("state") instanceof Map &&
    Array.isArray(groups) &&
    groups.every((g) => g instanceof Map)
  );
}

function optimizerRows(optimizer: Dict, depth: number, name: string): Row[] {
  const states = [...(optimizer.get("state") as Dict).values()];
  const fields = new Set(states.flatMap((state) => [...childrenOf(state)].map(([key]) => key)));
  const tensors = states
    .flatMap((state) => [...childrenOf(state)])
    .filter(([, child]) => child instanceof TorchTensor).length;
  const text = `optimizer, state of ${count(states.length, "parameter")} (${[...fields].map(printable).join(", ")}), ${count(tensors, "tensor")}: see them with --filter`;
  const groups = (optimizer.get("param_groups") as readonly Dict[]).map((group, i): Row => {
    const params = group.get("params");
    const settings = [...group]
      .filter(([key]) => key !== "params")
      .map(([key, setting]) => `${String(key as string)} ${pythonRepr(setting, 40)}`);
    return {
      depth: depth + 1,
      name: `group ${i}`,
      text: [Array.isArray(params) ? count(params.length, "parameter") : "no parameters", ...settings].join(", "),
    };
  });
  return [{ depth, name, text }, ...groups];
}

function count(value: number, what: string): string {
  const plural = what.endsWith("y") ? `${what.slice(0, -1)}ies` : `${what}s`;
  return `${value.toLocaleString("en")} ${value === 1 ? what : plural}`;
}

/** `1.5 MiB` */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return unit === 0 ? count(bytes, "byte") : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Five digits: enough to compare by eye. */
function formatNumber(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : value.toPrecision(5);
}
