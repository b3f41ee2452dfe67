/** Ends of a run that are decided deep within it. */

type ExitForm = "plain" | "log" | "usage" | "silent";

/** Thrown to end the program with what is left to say and an exit status. */
export class Exit extends Error {
  override readonly name = "Exit";
  readonly status: number;
  /** How the message is said: a plain line, one of OpenSSH's log lines, that and the usage, or not. */
  readonly form: ExitForm;

  constructor(message: string, status: number, form: ExitForm) {
    super(message);
    this.status = status;
    this.form = form;
  }
}

/** An error that OpenSSH calls fatal: a log line and exit status 255. */
export function fatal(message: string): Exit {
  return new Exit(message, 255, "log");
}

/** A plain line on standard error and an exit status. */
export function exit(message: string, status: number): Exit {
  return new Exit(message, status, "plain");
}

/** A command line that is none: what is wrong, the usage, and exit status 1. */
export function badUsage(message: string): Exit {
  return new Exit(message, 1, "usage");
}

/** Nothing but an exit status, where nobody is left to tell. */
export function silentExit(status: number): Exit {
  return new Exit("", status, "silent");
}
