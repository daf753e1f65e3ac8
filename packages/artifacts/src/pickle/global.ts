/**
 * A class or function that a pickle may name. `call` stands for calling it, and for making an instance of it: it is
 * ours, never Python's. Without one it is only a name, as in `args.type = int`.
 */
export class PickleGlobal {
  readonly kind = "global";

  constructor(
    /** With its module: `torch.FloatStorage`. */
    readonly name: string,
    /** Returns undefined for arguments it does not take. */
    readonly call?: (args: readonly unknown[]) => unknown,
  ) {}
}
