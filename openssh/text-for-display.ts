/**
 * Text from outside, made safe to show: comments, key IDs, names of tokens and processes, paths, and
 * what other agents say. All of it that is shown to users goes through here.
 */
import { encodeText } from "../protocol/text.ts";

/**
 * Characters that move a cursor, end a line, turn the direction of text, or are not seen: controls
 * (C0, DEL, C1), separators of lines and paragraphs, all that Unicode has renderers ignore, the
 * bidirectional controls among them, and bytes that are no UTF-8. The two joiners and the variation
 * selectors stay: words of some languages, and emoji, are spelled with them.
 */
const unsafe =
  /(?!\u200c|\u200d|[\ufe00-\ufe0f])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * A line for a terminal or a log: unsafe characters become octal escapes of their bytes, such as
 * `\033`, as in OpenSSH's own messages. A tab stays, as it does there.
 */
export function sanitizeForDisplay(text: string): string {
  return text.replace(unsafe, (character) => (character === "\t" ? character : octal(character)));
}

/**
 * A line as OpenSSH's programs write it to their log: all but printable US-ASCII and tab as octal
 * escapes, and backslashes doubled.
 */
export function escapeLogLine(text: string): string {
  return text.replace(/\\|[^\t -~]/gu, (symbol) => (symbol === "\\" ? "\\\\" : octal(symbol)));
}

/** Names are much shorter, but a library or a client may give anything. */
const maxNameLength = 255;

/**
 * A name for lists, questions and sentences: in one line, of at most 255 characters, with U+FFFD in
 * the place of each unsafe one.
 */
export function sanitizeName(text: string): string {
  const kept = Array.from(text.slice(0, 2 * maxNameLength)).slice(0, maxNameLength);
  return kept.join("").replace(unsafe, "\ufffd");
}

/** JSON that is safe for terminals too: the same characters become `\u` escapes. */
export function stringifyForDisplay(value: unknown): string {
  return JSON.stringify(value).replace(unsafe, (character) =>
    Array.from({ length: character.length }, (_, at) => unicode(character.charCodeAt(at))).join(""),
  );
}

/** The bytes of a text as octal escapes. */
function octal(text: string): string {
  return Array.from(encodeText(text), (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}

function unicode(code: number): string {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
