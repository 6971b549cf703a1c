// Splits an issue's title into the kind of error and what it said.

const typeLike = /^[A-Za-z_$][\w$.:<>-]*$/;

/** "ValueError: bad" as its two halves; a title that has no type is all head. */
export function splitTitle(title: string): { head: string; rest: string } {
  const at = title.indexOf(": ");
  if (at > 0 && typeLike.test(title.slice(0, at))) return { head: title.slice(0, at), rest: title.slice(at + 2) };
  return { head: title, rest: "" };
}
