/** An invalid command line. */
export class UsageError extends Error {
  readonly status: number;
  /** Whether the usage is shown after the message. */
  readonly showsUsage: boolean;
  /** Whether OpenSSH writes the message to its log, whose lines end in CR LF. */
  readonly isLogged: boolean;

  constructor(message: string, status: number, showsUsage: boolean, isLogged = true) {
    super(message);
    this.status = status;
    this.showsUsage = showsUsage;
    this.isLogged = isLogged;
  }
}
