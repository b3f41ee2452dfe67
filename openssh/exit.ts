/** Errors that end a program, in the formats of OpenSSH's programs. */

/** Ends the program with an exit status and a message, which may be empty. */
export class Exit extends Error {
  override readonly name = "Exit";
  readonly status: number;
  /** Whether the message has the format of OpenSSH's log, which ends lines with CR LF. */
  readonly isLogged: boolean;
  readonly showsUsage: boolean;

  constructor(message: string, status: number, form: { isLogged: boolean; showsUsage: boolean }) {
    super(message);
    this.status = status;
    this.isLogged = form.isLogged;
    this.showsUsage = form.showsUsage;
  }
}

/** The exit status after writing to a closed pipe: 128 + SIGPIPE. */
export const brokenPipeStatus = 141;

/** As OpenSSH's fatal(): a log line and exit status 255. */
export function fatal(message: string): Exit {
  return new Exit(message, 255, { isLogged: true, showsUsage: false });
}

/** A plain line, unless the message is empty, and an exit status. */
export function exit(message: string, status: number): Exit {
  return new Exit(message, status, { isLogged: false, showsUsage: false });
}

/** An invalid command line: a message, the usage, and exit status 1. */
export function badUsage(message: string, { isLogged = true } = {}): Exit {
  return new Exit(message, 1, { isLogged, showsUsage: true });
}
