/** The systemd service that this process is, and words for its unit. */
import { readFileSync } from "node:fs";

/**
 * The unit of the service whose main process this is, such as `ssh-agent.service`; undefined for any
 * other process. SYSTEMD_EXEC_PID (systemd.exec(5)) is inherited, so only its own process counts.
 * @param readCgroup reads cgroups(7), whose last folder has the unit's name
 */
export function systemdUnit(
  environment: NodeJS.ProcessEnv,
  pid: number,
  readCgroup: () => string = () => readFileSync("/proc/self/cgroup", "utf8"),
): string | undefined {
  if (environment.SYSTEMD_EXEC_PID !== String(pid)) return undefined;
  try {
    return /\/([^/\n]+\.service)$/m.exec(readCgroup())?.[1];
  } catch {
    return undefined;
  }
}

/** Quotes a text as one word of ExecStart= (systemd.service(5), COMMAND LINES). */
export function systemdWord(text: string): string {
  const word = text.replaceAll("%", "%%").replaceAll("$", () => "$$");
  return /^[\w%$*./+=,:@-]+$/.test(word) ? word : `"${word.replace(/["\\]/g, "\\$&")}"`;
}
