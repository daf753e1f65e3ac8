/** A program was asked for something after its end, or while it cannot answer. */
export class ProgramStateError extends Error {
  override name = "ProgramStateError";
}

/** A result is NaN or infinite. The state is left as it was before the run. */
export class NonFiniteError extends RangeError {
  override name = "NonFiniteError";
  /** Name of the program. */
  readonly program: string;
  /** Name of the first bad tensor, in the order in which the function returns them: outputs, then state. */
  readonly tensor: string;
  /** Row-major position of its first bad element. */
  readonly index: number;
  /** Runs that ended before this one. */
  readonly runs: number;

  constructor(program: string, tensor: string, index: number, value: number, runs: number) {
    super(
      `Program "${program}": "${tensor}" is ${value} at element ${index}, in run ${runs + 1}; the state was not changed`,
    );
    this.program = program;
    this.tensor = tensor;
    this.index = index;
    this.runs = runs;
  }
}

/** The runtime failed inside a program: while it was loaded or while it ran. */
export class ProgramFailedError extends Error {
  override name = "ProgramFailedError";
  readonly program: string;

  constructor(program: string, doing: string, cause: unknown) {
    super(`Program "${program}" failed while it ${doing}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
    this.program = program;
  }
}

/** A handle was used after its end. */
export class HandleError extends Error {
  override name = "HandleError";
  /** Name of the handle. */
  readonly handle: string;

  constructor(handle: string, message: string) {
    super(message);
    this.handle = handle;
  }
}
