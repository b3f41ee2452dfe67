/**
 * Sanitizes untrusted text for display: comments, key IDs, names of tokens and processes, paths, and
 * messages of other agents.
 */
import { encodeText } from "../protocol/text.ts";

/**
 * Characters that move the cursor, end a line, reverse text, or are invisible: C0, DEL and C1
 * controls, line and paragraph separators, surrogates (which stand for invalid UTF-8), and Unicode's
 * default ignorables, including bidirectional controls. The two joiners and the variation selectors
 * are allowed, because some languages and emoji need them.
 */
const unsafe =
  /(?!\u200c|\u200d|[\ufe00-\ufe0f])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * Escapes unsafe characters except tab as octal bytes, such as `\033`, like OpenSSH's messages.
 */
export function sanitizeForDisplay(text: string): string {
  return text.replace(unsafe, (character) => (character === "\t" ? character : octal(character)));
}

/**
 * Escapes like OpenSSH's log: everything except printable ASCII and tab as octal bytes, and
 * backslashes doubled.
 */
export function escapeLogLine(text: string): string {
  return text.replace(/\\|[^\t -~]/gu, (symbol) => (symbol === "\\" ? "\\\\" : octal(symbol)));
}

/** A library or a client may supply a name of any length. */
const maxNameLength = 255;

/**
 * Sanitizes a name for lists, prompts and sentences: one line of at most 255 characters, with U+FFFD
 * for each unsafe one.
 */
export function sanitizeName(text: string): string {
  const kept = Array.from(text.slice(0, 2 * maxNameLength)).slice(0, maxNameLength);
  return kept.join("").replace(unsafe, "\ufffd");
}

/** Serializes to JSON that is safe on a terminal: unsafe characters become `\u` escapes. */
export function stringifyForDisplay(value: unknown): string {
  return JSON.stringify(value).replace(unsafe, (character) =>
    Array.from({ length: character.length }, (_, at) => unicode(character.charCodeAt(at))).join(""),
  );
}

function octal(text: string): string {
  return Array.from(encodeText(text), (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}

function unicode(code: number): string {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
