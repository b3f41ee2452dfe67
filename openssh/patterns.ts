/**
 * OpenSSH's patterns (ssh_config(5), PATTERNS) for hosts, users, library paths and FIDO applications:
 * `*` matches any bytes, `?` one byte.
 *
 * Patterns can come from attackers, so matching takes linear time in the length of the text.
 */
import { encodeText } from "../protocol/text.ts";

/** Longer patterns match nothing, as in OpenSSH's lists. */
const maxPatternLength = 1022;

/** Longer texts match no pattern with wildcards; host names, user names and paths are shorter. */
const maxTextLength = 4096;

const star = 0x2a;
const anyByte = 0x3f;

/** Whether the whole of `text` matches `pattern`. */
export function matchesPattern(text: string, pattern: string): boolean {
  if (!/[*?]/.test(pattern)) return text === pattern;
  const bytes = encodeText(text);
  const symbols = encodeText(pattern);
  if (bytes.length > maxTextLength || symbols.length > maxPatternLength) return false;
  return runNfa(bytes, symbols);
}

/**
 * Simulates the pattern's NFA with bit vectors of 32-bit words. Bit n of `reached` is set if the first
 * n symbols, not counting stars, match the text so far.
 */
function runNfa(text: Uint8Array, pattern: Uint8Array): boolean {
  const length = pattern.filter((symbol) => symbol !== star).length;
  if (length > text.length) return false;
  const words = (length >>> 5) + 1;
  const reached = new Uint32Array(words);
  /** States with a star, which stay reached on any byte. */
  const stays = new Uint32Array(words);
  /** States reached from the previous state on any byte, and on each byte. */
  const acceptsAny = new Uint32Array(words);
  const accepts = new Uint32Array(256 * words);
  let at = 0;
  for (const symbol of pattern) {
    if (symbol === star) {
      setBit(stays, 0, at);
      continue;
    }
    at++;
    if (symbol === anyByte) setBit(acceptsAny, 0, at);
    else setBit(accepts, symbol * words, at);
  }
  setBit(reached, 0, 0);
  for (const byte of text) {
    let carry = 0;
    for (let word = 0; word < words; word++) {
      const before = reached[word] ?? 0;
      const accepted = (accepts[byte * words + word] ?? 0) | (acceptsAny[word] ?? 0);
      reached[word] = (((before << 1) | carry) & accepted) | (before & (stays[word] ?? 0));
      carry = before >>> 31;
    }
  }
  return ((reached[words - 1] ?? 0) & (1 << (length & 31))) !== 0;
}

/** Sets a bit of the vector that begins at word `start`. */
function setBit(bits: Uint32Array, start: number, bit: number): void {
  const word = start + (bit >>> 5);
  bits[word] = (bits[word] ?? 0) | (1 << (bit & 31));
}

/**
 * Whether a text matches a comma-separated pattern list: at least one pattern, and no pattern that is
 * negated with `!`. A list with a pattern that is too long matches nothing.
 */
export function matchesPatternList(text: string, list: string): boolean {
  if (Buffer.byteLength(text) > maxTextLength) return false;
  let isMatch = false;
  for (const entry of patternsOf(list)) {
    const isNegated = entry.startsWith("!");
    const pattern = isNegated ? entry.slice(1) : entry;
    if (Buffer.byteLength(pattern) > maxPatternLength) return false;
    if (!matchesPattern(text, pattern)) continue;
    if (isNegated) return false;
    isMatch = true;
  }
  return isMatch;
}

/** As `matchesPatternList` for a host, ignoring ASCII case. */
export function matchesHostList(host: string, list: string): boolean {
  return matchesPatternList(lowerCase(host), lowerCase(list));
}

/** Lowers ASCII letters only: U+212A, the kelvin sign, is not a `k` in a host name. */
export function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** A trailing comma adds no empty pattern. */
function patternsOf(list: string): string[] {
  const patterns = list.split(",");
  if (patterns.at(-1) === "") patterns.pop();
  return patterns;
}
