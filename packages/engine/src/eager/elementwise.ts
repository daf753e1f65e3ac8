import * as tf from "@tensorflow/tfjs-core";
import type { BinaryFunction, CompareFunction, UnaryFunction } from "../ir/graph.js";
import { kernel, type EagerOp } from "./op.js";

const UNARY: Readonly<Record<UnaryFunction, (x: tf.Tensor) => tf.Tensor>> = {
  neg: tf.neg,
  abs: tf.abs,
  sign: tf.sign,
  floor: tf.floor,
  ceil: tf.ceil,
  round: tf.round,
  exp: tf.exp,
  expm1: tf.expm1,
  log: tf.log,
  log1p: tf.log1p,
  sqrt: tf.sqrt,
  rsqrt: tf.rsqrt,
  reciprocal: tf.reciprocal,
  square: tf.square,
  sin: tf.sin,
  cos: tf.cos,
  tan: tf.tan,
  asin: tf.asin,
  acos: tf.acos,
  atan: tf.atan,
  sinh: tf.sinh,
  cosh: tf.cosh,
  tanh: tf.tanh,
  asinh: tf.asinh,
  acosh: tf.acosh,
  atanh: tf.atanh,
  erf: tf.erf,
  sigmoid: tf.sigmoid,
  silu: (x) => tf.mul(x, tf.sigmoid(x)),
  softplus: tf.softplus,
  relu: tf.relu,
  elu: tf.elu,
  isNaN: tf.isNaN,
  isInf: tf.isInf,
  not: tf.logicalNot,
};

export const unary: EagerOp<"unary"> = ({ op }, [x]) => UNARY[op.fn](x!);

/** Kernels that take `a` and `b`, and broadcast. */
const BINARY: Readonly<Record<BinaryFunction, string>> = {
  add: "Add",
  sub: "Sub",
  mul: "Multiply",
  div: "RealDiv",
  floorDiv: "FloorDiv",
  mod: "Mod",
  pow: "Pow",
  max: "Maximum",
  min: "Minimum",
  and: "LogicalAnd",
  or: "LogicalOr",
};

export const binary: EagerOp<"binary"> = ({ op, dtype }, [a, b]) => {
  if (op.fn === "floorDiv" && dtype === "float32") return tf.floor(tf.div(a!, b!)); // tfjs' own is of int32
  return kernel(BINARY[op.fn], { a: a!, b: b! });
};

const COMPARE: Readonly<Record<CompareFunction, string>> = {
  equal: "Equal",
  notEqual: "NotEqual",
  less: "Less",
  lessEqual: "LessEqual",
  greater: "Greater",
  greaterEqual: "GreaterEqual",
};

export const compare: EagerOp<"compare"> = ({ op }, [a, b]) => {
  const ordered = a!.dtype === "bool" && op.fn !== "equal" && op.fn !== "notEqual";
  const [x, y] = ordered ? [tf.cast(a!, "int32"), tf.cast(b!, "int32")] : [a!, b!];
  return kernel(COMPARE[op.fn], { a: x, b: y });
};

export const select: EagerOp<"select"> = (_node, [condition, a, b]) => tf.where(condition!, a!, b!);

export const cast: EagerOp<"cast"> = ({ op }, [x]) =>
  op.dtype === "bool" ? tf.notEqual(x!, tf.zerosLike(x!)) : tf.cast(x!, op.dtype);
