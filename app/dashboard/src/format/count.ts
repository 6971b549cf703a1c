// Counts for people: exact while short, then with a suffix.

const steps: [number, string][] = [
  [1e9, "b"],
  [1e6, "m"],
  [1e3, "k"],
];

/** "999", "1.2k", "45k", "3.4m"; never rounds up into a lie ("1000k"). */
export function compactCount(count: number): string {
  if (!Number.isFinite(count)) return "–";
  for (const [size, suffix] of steps) {
    if (count >= size) {
      const scaled = count / size;
      const digits = scaled < 10 ? Math.floor(scaled * 10) / 10 : Math.floor(scaled);
      return `${digits}${suffix}`;
    }
  }
  return String(count);
}

/** The exact count with the locale's separators. */
export function fullCount(count: number, locale?: string): string {
  return new Intl.NumberFormat(locale).format(count);
}

/** "1 event", "1,204 events". */
export function counted(count: number, one: string, many = `${one}s`, locale?: string): string {
  return `${fullCount(count, locale)} ${count === 1 ? one : many}`;
}
