import { strerror } from "../../openssh/strerror.ts";

/** A failure of `ssh-agent` before it serves, with a message for the user. */
export class StartError extends Error {
  /** The program's exit status. */
  readonly status: number;
  /** The code of the system error that caused it, such as `ENOSPC`. */
  readonly code: unknown;

  constructor(message: string, { status = 1, code }: { status?: number; code?: unknown } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The text of an error: strerror(3) for system errors, else the first line of its message. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return strerror(error) ?? error.message.replace(/\n.*/s, "");
}
