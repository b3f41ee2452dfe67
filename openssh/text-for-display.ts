/**
 * Text from outside, made safe to show: comments, key IDs, names of tokens and processes, paths, and
 * what other agents say. All that a person is shown of it goes through here.
 */
import { encodeText } from "../protocol/text.ts";

/**
 * How many characters of a name are shown. Labels and comments are much shorter, but a library or a
 * client may give anything.
 */
export const maxNameLength = 255;

/**
 * Characters that move a cursor, end a line, turn the direction of text, or are not seen: controls
 * (C0, DEL, C1), separators of lines and paragraphs, all that Unicode has renderers ignore, the
 * bidirectional controls among them, and bytes that are no UTF-8. The two joiners and the variation
 * selectors stay: words of some languages, and emoji, are spelled with them.
 */
const unsafe =
  /(?!\u200c|\u200d|[\ufe00-\ufe0f])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * A text in one line, safe for terminals and windows: unsafe characters become octal escapes of their
 * bytes, such as `\033`, as in OpenSSH's own messages.
 * @param maxLength how many characters are kept, before they are escaped
 */
export function sanitizeForDisplay(text: string, maxLength = Number.POSITIVE_INFINITY): string {
  return firstCharacters(text, maxLength).replace(unsafe, (character) =>
    Array.from(encodeText(character), octal).join(""),
  );
}

/** JSON that is safe for terminals too: the same characters become `\u` escapes. */
export function stringifyForDisplay(value: unknown): string {
  return JSON.stringify(value).replace(unsafe, (character) =>
    Array.from({ length: character.length }, (_, at) => unicode(character.charCodeAt(at))).join(""),
  );
}

/** The text may be huge; no character is cut in two. */
function firstCharacters(text: string, count: number): string {
  if (text.length <= count) return text;
  return Array.from(text.slice(0, 2 * count))
    .slice(0, count)
    .join("");
}

function octal(byte: number): string {
  return `\\${byte.toString(8).padStart(3, "0")}`;
}

function unicode(code: number): string {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
