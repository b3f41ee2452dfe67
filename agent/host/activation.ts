/**
 * Sockets that a service manager such as systemd opens and hands over, by the protocol of
 * sd_listen_fds(3): LISTEN_FDS counts them, LISTEN_PID says whom they are for, the first is number 3.
 */
import { fstatSync } from "node:fs";

/** The descriptor of the socket that is handed over. */
export const handedDescriptor = 3;

/** What the environment says of a socket that was handed over. */
export type Activation =
  | { readonly kind: "none" }
  | { readonly kind: "socket"; readonly descriptor: number }
  /** An environment that cannot be followed, and why. */
  | { readonly kind: "bad"; readonly message: string };

/** Looks for a socket that was handed to the process `pid`. */
export function findActivation(environment: NodeJS.ProcessEnv, pid: number): Activation {
  const { LISTEN_PID, LISTEN_FDS } = environment;
  if (LISTEN_PID === undefined || LISTEN_FDS === undefined) return { kind: "none" };
  const bad = (message: string): Activation => ({ kind: "bad", message });
  if (LISTEN_FDS !== "1") {
    return bad(`unexpected LISTEN_FDS contents (want "1" got "${LISTEN_FDS}")`);
  }
  if (!/^[1-9]\d*$/.test(LISTEN_PID)) return bad("invalid LISTEN_PID: invalid");
  if (Number(LISTEN_PID) !== pid) return bad(`bad LISTEN_PID: ${LISTEN_PID} vs pid ${pid}`);
  if (!isSocket(handedDescriptor)) return bad("LISTEN_FDS set but fd 3 unavailable");
  return { kind: "socket", descriptor: handedDescriptor };
}

/** Takes the variables out of an environment: they are not for the programs that we start. */
export function forgetActivation(environment: NodeJS.ProcessEnv): void {
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete environment[name];
}

function isSocket(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}
