/** What the system says of an error, without the words that Node.js puts around it. */
import { getSystemErrorMap } from "node:util";

/** The C library's words for a system's error; for others, the first line of what they say. */
export function systemWords(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  if (!("errno" in error)) return error.message.replace(/\n.*/s, "");
  const [, words] = getSystemErrorMap().get(Number(error.errno)) ?? [];
  return words === undefined ? "unknown error" : words.charAt(0).toUpperCase() + words.slice(1);
}

/** The name that the system has for an error, such as `ENOENT`. */
export function systemCode(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
