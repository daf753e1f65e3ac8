import {
  advance,
  assemble,
  Assembly,
  f32x4,
  get,
  i32,
  repeat,
  set,
  type Code,
  type Variable,
} from "../../wasm/assembler.js";
import type { Expression, FusedFunction, Operand } from "./expression.js";

/** Elements that a kernel takes at once. Sizes are padded to a multiple of it. */
export const LANES = 4;

/**
 * Runs over `count` groups of four elements. Addresses are in bytes: of the scalars, then of each tensor, then of each
 * result.
 */
export type ElementwiseKernel = (count: number, scalars: number, ...addresses: number[]) => void;

const FUNCTIONS: Readonly<Record<FusedFunction, (...operands: Code[]) => Code>> = {
  neg: f32x4.neg,
  abs: f32x4.abs,
  sqrt: f32x4.sqrt,
  square: (x) => f32x4.mul(x, x), // its operand is always a variable
  add: f32x4.add,
  sub: f32x4.sub,
  mul: f32x4.mul,
  div: f32x4.div,
};

/**
 * A WebAssembly module with a kernel for each expression, named by its number: four elements at a time, every tensor
 * read once, every result written once. It imports its memory, which is shared.
 */
export function elementwiseModule(expressions: readonly Expression[]): Uint8Array<ArrayBuffer> {
  return assemble(expressions.map(kernelOf), { shared: true });
}

/** The name of an expression's kernel in its module. */
export const kernelName = (index: number): string => `kernel${index}`;

function kernelOf({ tensors, scalars, steps, results }: Expression, index: number): Assembly {
  const f = new Assembly(
    kernelName(index),
    Array.from({ length: 2 + tensors + results.length }, () => "i32" as const),
  );
  const [count, scalarsAt] = [0, 1];
  const tensorAt = (i: number): Variable => 2 + i;
  const resultAt = (i: number): Variable => 2 + tensors + i;
  const scalarOf = f.localsOf("v128", scalars);
  const tensorOf = f.localsOf("v128", tensors);
  const stepOf = f.localsOf("v128", steps.length);
  const valueOf = (operand: Operand): Code => {
    switch (operand.from) {
      case "tensor":
        return get(tensorOf[operand.index]!);
      case "scalar":
        return get(scalarOf[operand.index]!);
      case "constant":
        return f32x4.splatOf(operand.value);
      case "step":
        return get(stepOf[operand.index]!);
    }
  };
  const pointers = [...Array.from({ length: tensors }, (_, i) => tensorAt(i)), ...results.map((_, i) => resultAt(i))];
  f.code = [
    ...scalarOf.flatMap((local, i) => set(local, f32x4.loadSplat(get(scalarsAt), 4 * i))),
    ...repeat(
      count,
      ...tensorOf.map((local, i) => set(local, f32x4.load(get(tensorAt(i))))),
      ...steps.map(({ fn, operands }, i) => set(stepOf[i]!, FUNCTIONS[fn](...operands.map(valueOf)))),
      ...results.map((step, i) => f32x4.store(get(resultAt(i)), 0, get(stepOf[step]!))),
      ...pointers.map((pointer) => advance(pointer, i32.const(4 * LANES))),
    ),
  ];
  return f;
}
