/**
 * Times and amounts in words. Pure.
 *
 * @module
 */

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** Milliseconds as people read them, two units at most: `23h59m`, `5m12s`, `0s`. */
export function duration(ms: number): string {
  let left = Math.floor(Math.abs(ms) / 1000);
  const parts: string[] = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size);
    if (count === 0 && parts.length === 0) continue;
    if (count > 0) parts.push(`${count}${unit}`);
    left -= count * size;
    if (parts.length === 2) break;
  }
  return parts.slice(0, 2).join("") || "0s";
}

/** Time until something: negative when it is over. */
export function timeLeft(ms: number): string {
  return ms >= 0 ? duration(ms) : `-${duration(ms)}`;
}
