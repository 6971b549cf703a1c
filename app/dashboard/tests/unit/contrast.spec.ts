// The promise of tokens.css: text has a contrast of 4.5:1 or more on what it stands on, in both themes (WCAG 2.2, 1.4.3).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const css = readFileSync("src/styles/tokens.css", "utf8");

function colours(theme: string): Map<string, string> {
  const start = css.indexOf(`:root[data-theme="${theme}"]`);
  const block = css.slice(start, css.indexOf("}", start));
  return new Map([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map((match) => [match[1] ?? "", match[2] ?? ""]));
}

function luminance(hex: string): number {
  const channel = (at: number) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

function contrast(one: string, other: string): number {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05);
}

const grounds = ["page", "surface", "raised", "sunken", "hover", "selected"];
const pairs: [string, string][] = [
  ...["text", "text-soft", "text-faint"].flatMap((text) => grounds.map((ground): [string, string] => [text, ground])),
  ...["fatal", "error", "warning", "info", "debug", "good"].map((level): [string, string] => [level, `${level}-soft`]),
  ["error", "surface"],
  ["accent", "surface"],
  ["accent-strong", "accent-soft"],
  ["on-accent", "accent"],
  ["on-accent", "accent-strong"],
  ["text", "error-soft"],
  ["text-soft", "good-soft"],
];

describe.each(["light", "dark"])("%s theme", (theme) => {
  const palette = colours(theme);
  it.each(pairs)("%s on %s", (text, ground) => {
    expect(contrast(palette.get(text) ?? "", palette.get(ground) ?? "")).toBeGreaterThanOrEqual(4.5);
  });
});
