/** Patterns as OpenSSH has them: `*` for any run of characters, `?` for one. */

/** Whether the whole of `text` matches `pattern`. Time grows with the product of their lengths. */
export function matchesPattern(text: string, pattern: string): boolean {
  let at = 0;
  let inPattern = 0;
  let star = -1;
  let starAt = 0;
  while (at < text.length) {
    if (pattern[inPattern] === "*") {
      star = inPattern++;
      starAt = at;
    } else if (inPattern < pattern.length && isMatch(text[at], pattern[inPattern])) {
      at++;
      inPattern++;
    } else if (star >= 0) {
      inPattern = star + 1;
      at = ++starAt;
    } else return false;
  }
  while (pattern[inPattern] === "*") inPattern++;
  return inPattern === pattern.length;
}

function isMatch(character: string | undefined, pattern: string | undefined): boolean {
  return pattern === "?" || pattern === character;
}
