/** Ends of a program that are decided deep within it, in the forms that OpenSSH's programs have. */

/** Thrown to end the program with a message, which may be empty, and an exit status. */
export class Exit extends Error {
  override readonly name = "Exit";
  readonly status: number;
  /** Whether the message is a line of OpenSSH's log, which ends in CR LF, or a plain line. */
  readonly isLogged: boolean;
  /** Whether the usage follows the message. */
  readonly showsUsage: boolean;

  constructor(message: string, status: number, form: { isLogged: boolean; showsUsage: boolean }) {
    super(message);
    this.status = status;
    this.isLogged = form.isLogged;
    this.showsUsage = form.showsUsage;
  }
}

/** An error that OpenSSH calls fatal: a log line and exit status 255. */
export function fatal(message: string): Exit {
  return new Exit(message, 255, { isLogged: true, showsUsage: false });
}

/** A plain line, or nothing for an empty message, and an exit status. */
export function exit(message: string, status: number): Exit {
  return new Exit(message, status, { isLogged: false, showsUsage: false });
}

/** An invalid command line: what is wrong, the usage, and exit status 1. */
export function badUsage(message: string, { isLogged = true } = {}): Exit {
  return new Exit(message, 1, { isLogged, showsUsage: true });
}
