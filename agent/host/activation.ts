/**
 * Socket activation by a service manager such as systemd, as in sd_listen_fds(3): LISTEN_FDS is the
 * number of sockets, LISTEN_PID the process that they are for, and the first descriptor is 3.
 */
import { fstatSync } from "node:fs";

/** The descriptor of the passed socket. */
export const activationDescriptor = 3;

/** Whether the process was started by socket activation; "bad" for invalid variables. */
export type Activation =
  | { readonly kind: "none" }
  | { readonly kind: "socket"; readonly descriptor: number }
  | { readonly kind: "bad"; readonly message: string };

/** Looks for a socket that was passed to the process `pid`. */
export function findActivation(environment: NodeJS.ProcessEnv, pid: number): Activation {
  const { LISTEN_PID, LISTEN_FDS } = environment;
  if (LISTEN_PID === undefined || LISTEN_FDS === undefined) return { kind: "none" };
  const bad = (message: string): Activation => ({ kind: "bad", message });
  if (LISTEN_FDS !== "1") {
    return bad(`unexpected LISTEN_FDS contents (want "1" got "${LISTEN_FDS}")`);
  }
  if (!/^[1-9]\d*$/.test(LISTEN_PID)) return bad("invalid LISTEN_PID: invalid");
  if (Number(LISTEN_PID) !== pid) return bad(`bad LISTEN_PID: ${LISTEN_PID} vs pid ${pid}`);
  if (!isSocket(activationDescriptor)) return bad("LISTEN_FDS set but fd 3 unavailable");
  return { kind: "socket", descriptor: activationDescriptor };
}

/** Removes the variables from an environment: programs that the agent runs must not see them. */
export function clearActivation(environment: NodeJS.ProcessEnv): void {
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete environment[name];
}

function isSocket(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}
