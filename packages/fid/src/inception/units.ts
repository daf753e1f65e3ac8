/**
 * Where features can be taken: after the first and the second max pool, after the last block of 17x17 pixels, and at
 * the end. Each is named by its channels, as in pytorch-fid.
 */
export const INCEPTION_DIMS = [64, 192, 768, 2048] as const;
export type InceptionDims = (typeof INCEPTION_DIMS)[number];

/** A convolution, its batch normalization and ReLU. */
export interface Unit {
  readonly channelsIn: number;
  readonly channelsOut: number;
  /** Height and width of the window. */
  readonly kernel: readonly [height: number, width: number];
  /** Down and across. */
  readonly stride: 1 | 2;
  /** Zeros above and below, left and right. */
  readonly pad: readonly [rows: number, columns: number];
}

/** Window, stride and padding of the units, by how their names are usually written. */
const WINDOWS = {
  "1x1": { kernel: [1, 1], stride: 1, pad: [0, 0] },
  "3x3": { kernel: [3, 3], stride: 1, pad: [1, 1] },
  "3x3 valid": { kernel: [3, 3], stride: 1, pad: [0, 0] },
  "3x3 half": { kernel: [3, 3], stride: 2, pad: [0, 0] },
  "5x5": { kernel: [5, 5], stride: 1, pad: [2, 2] },
  "1x3": { kernel: [1, 3], stride: 1, pad: [0, 1] },
  "3x1": { kernel: [3, 1], stride: 1, pad: [1, 0] },
  "1x7": { kernel: [1, 7], stride: 1, pad: [0, 3] },
  "7x1": { kernel: [7, 1], stride: 1, pad: [3, 0] },
} as const satisfies Record<string, Pick<Unit, "kernel" | "stride" | "pad">>;

type Row = readonly [name: string, channelsIn: number, channelsOut: number, window: keyof typeof WINDOWS];

const within = (block: string, rows: readonly Row[]): Row[] =>
  rows.map(([name, ...rest]): Row => [`${block}.${name}`, ...rest]);

const blockA = (block: string, C: number, pooled: number): Row[] =>
  within(block, [
    ["branch1x1", C, 64, "1x1"],
    ["branch5x5_1", C, 48, "1x1"],
    ["branch5x5_2", 48, 64, "5x5"],
    ["branch3x3dbl_1", C, 64, "1x1"],
    ["branch3x3dbl_2", 64, 96, "3x3"],
    ["branch3x3dbl_3", 96, 96, "3x3"],
    ["branch_pool", C, pooled, "1x1"],
  ]);

const blockB = (block: string, C: number): Row[] =>
  within(block, [
    ["branch3x3", C, 384, "3x3 half"],
    ["branch3x3dbl_1", C, 64, "1x1"],
    ["branch3x3dbl_2", 64, 96, "3x3"],
    ["branch3x3dbl_3", 96, 96, "3x3 half"],
  ]);

const blockC = (block: string, C: number, inner: number): Row[] =>
  within(block, [
    ["branch1x1", C, 192, "1x1"],
    ["branch7x7_1", C, inner, "1x1"],
    ["branch7x7_2", inner, inner, "1x7"],
    ["branch7x7_3", inner, 192, "7x1"],
    ["branch7x7dbl_1", C, inner, "1x1"],
    ["branch7x7dbl_2", inner, inner, "7x1"],
    ["branch7x7dbl_3", inner, inner, "1x7"],
    ["branch7x7dbl_4", inner, inner, "7x1"],
    ["branch7x7dbl_5", inner, 192, "1x7"],
    ["branch_pool", C, 192, "1x1"],
  ]);

const blockD = (block: string, C: number): Row[] =>
  within(block, [
    ["branch3x3_1", C, 192, "1x1"],
    ["branch3x3_2", 192, 320, "3x3 half"],
    ["branch7x7x3_1", C, 192, "1x1"],
    ["branch7x7x3_2", 192, 192, "1x7"],
    ["branch7x7x3_3", 192, 192, "7x1"],
    ["branch7x7x3_4", 192, 192, "3x3 half"],
  ]);

const blockE = (block: string, C: number): Row[] =>
  within(block, [
    ["branch1x1", C, 320, "1x1"],
    ["branch3x3_1", C, 384, "1x1"],
    ["branch3x3_2a", 384, 384, "1x3"],
    ["branch3x3_2b", 384, 384, "3x1"],
    ["branch3x3dbl_1", C, 448, "1x1"],
    ["branch3x3dbl_2", 448, 384, "3x3"],
    ["branch3x3dbl_3a", 384, 384, "1x3"],
    ["branch3x3dbl_3b", 384, 384, "3x1"],
    ["branch_pool", C, 192, "1x1"],
  ]);

/** Units by the features that need them first. */
const STAGES: Readonly<Record<InceptionDims, readonly Row[]>> = {
  64: [
    ["Conv2d_1a_3x3", 3, 32, "3x3 half"],
    ["Conv2d_2a_3x3", 32, 32, "3x3 valid"],
    ["Conv2d_2b_3x3", 32, 64, "3x3"],
  ],
  192: [
    ["Conv2d_3b_1x1", 64, 80, "1x1"],
    ["Conv2d_4a_3x3", 80, 192, "3x3 valid"],
  ],
  768: [
    ...blockA("Mixed_5b", 192, 32),
    ...blockA("Mixed_5c", 256, 64),
    ...blockA("Mixed_5d", 288, 64),
    ...blockB("Mixed_6a", 288),
    ...blockC("Mixed_6b", 768, 128),
    ...blockC("Mixed_6c", 768, 160),
    ...blockC("Mixed_6d", 768, 160),
    ...blockC("Mixed_6e", 768, 192),
  ],
  2048: [...blockD("Mixed_7a", 768), ...blockE("Mixed_7b", 1280), ...blockE("Mixed_7c", 2048)],
};

/**
 * The units that features of `dims` channels need, by the reference's names, in the order of the network.
 *
 * Source: Szegedy et al. 2015, arXiv:1512.00567, as changed by the network that FID was published with; names and sizes
 * as pytorch-fid has them (spec 15).
 */
export function inceptionUnits(dims: InceptionDims): ReadonlyMap<string, Unit> {
  const rows = INCEPTION_DIMS.filter((stage) => stage <= dims).flatMap((stage) => STAGES[stage]);
  return new Map(
    rows.map(([name, channelsIn, channelsOut, window]) => [name, { channelsIn, channelsOut, ...WINDOWS[window] }]),
  );
}
