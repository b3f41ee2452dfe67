/** strerror(3) messages, as OpenSSH prints them and scripts expect them. */
import { getSystemErrorMap } from "node:util";

/** glibc's messages where Node.js has others. */
const sentences: Readonly<Record<string, string>> = {
  EIO: "Input/output error",
  EISDIR: "Is a directory",
  ELOOP: "Too many levels of symbolic links",
  ENAMETOOLONG: "File name too long",
};

/** The message for a system error; undefined for other errors. */
export function strerror(error: unknown): string | undefined {
  if (!(error instanceof Error && "errno" in error)) return undefined;
  const [code, text] = getSystemErrorMap().get(Number(error.errno)) ?? [];
  if (code === undefined || text === undefined) return undefined;
  return sentences[code] ?? text.charAt(0).toUpperCase() + text.slice(1);
}

/** An error's code, such as `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
