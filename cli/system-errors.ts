/** The words of the C library for errors of the system, which scripts look for. */

const sentences: Readonly<Record<string, string>> = {
  EACCES: "Permission denied",
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
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

/** What the C library's strerror says of a system error; its own message for any other. */
export function systemErrorText(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const { code } = error as NodeJS.ErrnoException;
  return (code !== undefined && sentences[code]) || error.message;
}

/** Whether an error is the system's with this code, as in "ENOENT". */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}
