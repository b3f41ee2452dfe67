/** The words of the C library for errors of the system, which scripts look for. */

import { getSystemErrorMap } from "node:util";

const sentences: Readonly<Record<string, string>> = {
  EACCES: "Permission denied",
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
  EFBIG: "File too large",
  EINVAL: "Invalid argument",
  EIO: "Input/output error",
  EISDIR: "Is a directory",
  ELOOP: "Too many levels of symbolic links",
  EMFILE: "Too many open files",
  ENAMETOOLONG: "File name too long",
  ENOENT: "No such file or directory",
  ENOTDIR: "Not a directory",
  ENOTSOCK: "Socket operation on non-socket",
  ENXIO: "No such device or address",
  EPERM: "Operation not permitted",
  EPIPE: "Broken pipe",
  EPROTOTYPE: "Protocol wrong type for socket",
};

/**
 * What the C library's strerror says of a system error. Of any other it tells the kind alone: what
 * the runtime says of those is for whoever mends this program.
 */
export function systemErrorText(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const { code, errno } = error as NodeJS.ErrnoException;
  const known = code === undefined ? undefined : sentences[code];
  if (known !== undefined) return known;
  const [, text] = (errno === undefined ? undefined : getSystemErrorMap().get(errno)) ?? [];
  return text === undefined ? `internal error (${code ?? error.name})` : capitalize(text);
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Whether an error is the system's with this code, as in "ENOENT". */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}
