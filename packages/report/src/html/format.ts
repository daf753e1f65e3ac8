/**
 * How numbers, sizes and times read on the page. All are functions of their argument alone: no locale, no time zone.
 */

/** `12345.678` -> `12,345.7`: grouped by thousands; fractions to so many significant digits, whole numbers whole. */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && Math.abs(value) < 1e-4) return minus(Number(value.toPrecision(digits)).toExponential());
  const rounded = Number.isInteger(value) ? value : Number(value.toPrecision(Math.max(digits, wholeDigits(value))));
  return minus(rounded.toLocaleString("en-US", { maximumFractionDigits: 12 }));
}

/** A score: always three decimals below 10, two below 100, one above, so that a column of them lines up. */
export function formatScore(value: number): string {
  const decimals = Math.abs(value) < 10 ? 3 : Math.abs(value) < 100 ? 2 : 1;
  return minus(value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
}

/** `3_400_000` -> `3.24 MiB`. */
export function formatBytes(bytes: number): string {
  const unit = Math.min(Math.floor(Math.log2(Math.max(1, bytes)) / 10), 5);
  const value = bytes / 1024 ** unit;
  return `${unit === 0 ? value : value.toPrecision(value >= 1000 ? 4 : 3)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit] ?? ""}`;
}

/** `192.4` -> `3 min 12 s`; below ten seconds with a decimal. */
export function formatDuration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** An ISO time as `2026-11-25 07:20:31 UTC`. */
export function formatTime(iso: string): string {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? iso : `${time.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** A tick of an axis: `0.0005`, `2,500`, `40k`, `1.2M`, `1e-5`. */
export function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return minus(`${Number((value / 1e6).toPrecision(4))}M`);
  if (size >= 1e4) return minus(`${Number((value / 1e3).toPrecision(4))}k`);
  if (size >= 1e3) return minus(Number(value.toPrecision(4)).toLocaleString("en-US"));
  if (size !== 0 && size < 1e-4) return minus(Number(value.toPrecision(3)).toExponential());
  return minus(String(Number(value.toPrecision(4))));
}

/** `1 image`, `2,048 images`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${formatNumber(n)} ${n === 1 ? one : many}`;
}

function wholeDigits(value: number): number {
  return Math.max(1, Math.floor(Math.log10(Math.max(1, Math.abs(value)))) + 2);
}

/** A minus sign instead of a hyphen. */
function minus(text: string): string {
  return text.replaceAll("-", "\u2212");
}
