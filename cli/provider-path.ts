/** Paths of PKCS#11 libraries as they are sent to an agent. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";

/**
 * The path to send for a library that was named on the command line. The agent works in another
 * folder, so a relative path of a file that exists becomes absolute; all else is for the agent to
 * find or to refuse.
 */
export function providerPath(given: string): string {
  return given !== "" && !given.startsWith("/") && existsSync(given) ? resolve(given) : given;
}
