import type { UnaryFunction } from "../ir/graph.js";
import { MICROSOFT, type OnnxBuilder } from "./builder.js";
import type { Lowering } from "./lower.js";
import { ELEMENT_TYPE } from "./proto.js";

/** Unary functions that ONNX has under another name. */
const UNARY: Partial<Record<UnaryFunction, string>> = {
  neg: "Neg",
  abs: "Abs",
  sign: "Sign",
  floor: "Floor",
  ceil: "Ceil",
  round: "Round",
  exp: "Exp",
  log: "Log",
  sqrt: "Sqrt",
  reciprocal: "Reciprocal",
  sin: "Sin",
  cos: "Cos",
  tan: "Tan",
  asin: "Asin",
  acos: "Acos",
  atan: "Atan",
  sinh: "Sinh",
  cosh: "Cosh",
  tanh: "Tanh",
  asinh: "Asinh",
  acosh: "Acosh",
  atanh: "Atanh",
  erf: "Erf",
  sigmoid: "Sigmoid",
  softplus: "Softplus",
  relu: "Relu",
  elu: "Elu",
  isNaN: "IsNaN",
  isInf: "IsInf",
  not: "Not",
};

export const lowerUnary: Lowering<"unary"> = (onnx, node, inputs, out) => {
  const { op } = node;
  const [x = ""] = inputs;
  // OpenVINO's exp of NaN is infinite.
  if (op.fn === "exp" && onnx.target === "openvino")
    return onnx.op("Where", [onnx.op("IsNaN", inputs), x, onnx.op("Exp", inputs)], {}, out);
  const direct = UNARY[op.fn];
  if (direct !== undefined) return onnx.op(direct, inputs, {}, out);
  switch (op.fn) {
    case "square":
      return onnx.op("Mul", [x, x], {}, out);
    case "rsqrt":
      return onnx.op("Reciprocal", [onnx.op("Sqrt", inputs)], {}, out);
    case "silu":
      return onnx.target === "onnxruntime"
        ? onnx.op("QuickGelu", inputs, { alpha: { float: 1 } }, { domain: MICROSOFT, ...out })
        : onnx.op("Mul", [x, onnx.op("Sigmoid", inputs)], {}, out);
    // tanh(x / 2) · (e^x + 1): no digits are lost near zero, where e^x - 1 would cancel; above 1 nothing cancels.
    case "expm1": {
      const exp = lowerUnary(onnx, { ...node, op: { ...op, fn: "exp" } }, inputs, {});
      const near = onnx.op("Mul", [
        onnx.op("Tanh", [onnx.op("Mul", [x, onnx.scalar(0.5)])]),
        onnx.op("Add", [exp, onnx.scalar(1)]),
      ]);
      const small = onnx.op("Less", [onnx.op("Abs", inputs), onnx.scalar(1)]);
      return onnx.op("Where", [small, near, onnx.op("Sub", [exp, onnx.scalar(1)])], {}, out);
    }
    // x · log(u) / (u - 1) with u = 1 + x as rounded (Kahan): the rounding of u cancels.
    case "log1p": {
      const u = onnx.op("Add", [x, onnx.scalar(1)]);
      const log = onnx.op("Log", [u]);
      const ratio = onnx.op("Mul", [log, onnx.op("Div", [x, onnx.op("Sub", [u, onnx.scalar(1)])])]);
      const tiny = onnx.op("Equal", [u, onnx.scalar(1)]);
      const infinite = onnx.op("IsInf", [u]);
      return onnx.op("Where", [tiny, x, onnx.op("Where", [infinite, log, ratio])], {}, out);
    }
    default:
      throw new Error(`unary function "${op.fn}" has no lowering`);
  }
};

const BINARY = {
  add: "Add",
  sub: "Sub",
  mul: "Mul",
  pow: "Pow",
  max: "Max",
  min: "Min",
  and: "And",
  or: "Or",
} as const;

export const lowerBinary: Lowering<"binary"> = (onnx, { op, dtype }, inputs, out) => {
  const [a = "", b = ""] = inputs;
  if ((op.fn === "max" || op.fn === "min") && dtype === "float32" && onnx.target === "openvino") {
    // OpenVINO's would lose NaN: b where it is the one that is wanted, or NaN; else a.
    const wanted = onnx.op("Less", op.fn === "max" ? [a, b] : [b, a]);
    return onnx.op("Where", [onnx.op("Or", [wanted, onnx.op("IsNaN", [b])]), b, a], {}, out);
  }
  switch (op.fn) {
    case "div":
      return onnx.op("Div", inputs, {}, out);
    case "floorDiv":
      if (dtype === "float32") return onnx.op("Floor", [onnx.op("Div", inputs)], {}, out);
      // Integer division truncates; where that rounded up, one less.
      return onnx.op(
        "Sub",
        [onnx.op("Div", inputs), signsDiffer(onnx, onnx.op("Mod", inputs, { fmod: 1 }), b)],
        {},
        out,
      );
    case "mod": {
      if (dtype === "int32") return onnx.op("Mod", inputs, { fmod: 0 }, out);
      const remainder = onnx.op("Mod", inputs, { fmod: 1 });
      const below = signsDiffer(onnx, remainder, b, "float32");
      return onnx.op("Add", [remainder, onnx.op("Mul", [below, b])], {}, out);
    }
    default:
      return onnx.op(BINARY[op.fn], [a, b], {}, out);
  }
};

/** 1 where a remainder is not zero and has the other sign than the divisor, else 0. */
function signsDiffer(
  onnx: OnnxBuilder,
  remainder: string,
  divisor: string,
  dtype: "int32" | "float32" = "int32",
): string {
  const zero = onnx.scalar(0, dtype);
  const differ = onnx.op("Xor", [onnx.op("Less", [remainder, zero]), onnx.op("Less", [divisor, zero])]);
  const some = onnx.op("Not", [onnx.op("Equal", [remainder, zero])]);
  return onnx.op("Cast", [onnx.op("And", [some, differ])], { to: ELEMENT_TYPE[dtype] });
}

const COMPARE = {
  equal: "Equal",
  less: "Less",
  lessEqual: "LessOrEqual",
  greater: "Greater",
  greaterEqual: "GreaterOrEqual",
} as const;

export const lowerCompare: Lowering<"compare"> = (onnx, { op, inputs: [a] }, inputs, out) => {
  if (op.fn === "notEqual") return onnx.op("Not", [onnx.op("Equal", inputs)], {}, out);
  const ordered = a?.dtype === "bool" && op.fn !== "equal";
  const operands = ordered ? inputs.map((x) => onnx.op("Cast", [x], { to: ELEMENT_TYPE.int32 })) : inputs;
  // OpenVINO's are true of NaN; the other way round they are not.
  if (onnx.target === "openvino" && (op.fn === "greater" || op.fn === "greaterEqual"))
    return onnx.op(op.fn === "greater" ? "Less" : "LessOrEqual", [...operands].reverse(), {}, out);
  return onnx.op(COMPARE[op.fn], operands, {}, out);
};

export const lowerSelect: Lowering<"select"> = (onnx, { dtype }, inputs, out) => {
  if (dtype !== "bool") return onnx.op("Where", inputs, {}, out);
  const [condition = "", a = "", b = ""] = inputs;
  const taken = onnx.op("And", [condition, a]);
  return onnx.op("Or", [taken, onnx.op("And", [onnx.op("Not", [condition]), b])], {}, out);
};
