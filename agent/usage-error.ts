/** What is wrong with a command line. */

/** A command line that cannot be followed. */
export class UsageError extends Error {
  readonly status: number;
  /** Whether the usage is shown after the message. */
  readonly showsUsage: boolean;
  /** Whether OpenSSH writes the message as a line of its log, which ends in CR LF. */
  readonly isLogged: boolean;

  constructor(message: string, status: number, showsUsage: boolean, isLogged = true) {
    super(message);
    this.status = status;
    this.showsUsage = showsUsage;
    this.isLogged = isLogged;
  }
}
