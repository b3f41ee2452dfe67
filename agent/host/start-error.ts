import { strerror } from "../../openssh/strerror.ts";

/** An agent that cannot be started, or another thing that the program cannot do: in the words for users. */
export class StartError extends Error {
  /** The program's exit status. */
  readonly status: number;
  /** The system's name for the reason, such as `ENOSPC`, where it has one. */
  readonly code: unknown;

  constructor(message: string, { status = 1, code }: { status?: number; code?: unknown } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** What is said of an error: the C library's words, or the first line of what it says itself. */
export function systemWords(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return strerror(error) ?? error.message.replace(/\n.*/s, "");
}
