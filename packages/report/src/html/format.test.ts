import { count, formatBytes, formatDuration, formatNumber, formatScore, formatTick, formatTime } from "./format.js";

const TABLES: readonly [string, (value: number) => string, readonly (readonly [number, string])[]][] = [
  [
    "formatNumber()",
    formatNumber,
    [
      [0, "0"],
      [2048, "2,048"],
      [1234567, "1,234,567"],
      [0.123456, "0.1235"],
      [12345.678, "12,345.7"],
      [-3, "−3"],
      [0.00001234, "1.234e−5"],
      [Infinity, "Infinity"],
    ],
  ],
  [
    "formatScore()",
    formatScore,
    [
      [0.5, "0.500"],
      [9.9994, "9.999"],
      [12.3456, "12.35"],
      [1234.56, "1,234.6"],
      [-0.0004, "−0.000"],
    ],
  ],
  [
    "formatBytes()",
    formatBytes,
    [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1.00 KiB"],
      [1.5 * 2 ** 20, "1.50 MiB"],
      [1000 * 2 ** 20, "1000 MiB"],
      [2 ** 31, "2.00 GiB"],
    ],
  ],
  [
    "formatDuration()",
    formatDuration,
    [
      [2.44, "2.4 s"],
      [9.96, "10 s"],
      [59.6, "1 min 0 s"],
      [192.4, "3 min 12 s"],
      [3600, "1 h 0 min"],
      [7380, "2 h 3 min"],
      [200_000, "2 d 7 h"],
    ],
  ],
  [
    "formatTick()",
    formatTick,
    [
      [0, "0"],
      [0.30000000000000004, "0.3"],
      [0.0002, "0.0002"],
      [0.00001, "1e−5"],
      [2500, "2,500"],
      [40_000, "40k"],
      [1_200_000, "1.2M"],
      [-5, "−5"],
    ],
  ],
];

describe.each(TABLES)("%s", (_, format, rows) => {
  test.each(rows)("writes %d as %s", (value, text) => expect(format(value)).toBe(text));
});

test("formatTime() writes UTC, and leaves what is no time", () => {
  expect(formatTime("2026-11-25T08:20:31.9+01:00")).toBe("2026-11-25 07:20:31 UTC");
  expect(formatTime("soon")).toBe("soon");
});

test("count() takes the singular for one alone", () => {
  expect([count(0, "image"), count(1, "image"), count(2, "image"), count(2, "more", "many")]).toEqual([
    "0 images",
    "1 image",
    "2 images",
    "2 many",
  ]);
});
