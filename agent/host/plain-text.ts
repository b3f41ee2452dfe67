/** Text that comes from elsewhere: labels of keys, what tokens say of themselves, comments. */

/** Characters that are kept; labels are much shorter, but a library may give anything. */
const longest = 255;

/**
 * A text as it may go on to lists and sentences: in one line, and of some length. What is no UTF-8
 * is U+FFFD already, and so are control characters from here on.
 */
export function plainText(text: string): string {
  const kept = [...text.slice(0, 2 * longest)].slice(0, longest).join("");
  return kept.replace(/\p{Cc}/gu, "\ufffd");
}
