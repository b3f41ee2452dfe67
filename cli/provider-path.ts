/** PKCS#11 libraries, by path or by URI, as they are sent to an agent. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { formatPkcs11Uri, isPkcs11Uri, parsePkcs11Uri } from "../openssh/pkcs11-uri.ts";
import { hidePin } from "../openssh/pkcs11-uri-syntax.ts";
import { Failure } from "../protocol/failure.ts";
import { explain } from "./agent.ts";
import type { Console } from "./console.ts";
import type { Options } from "./options.ts";

/**
 * What to send for a library that was named on the command line. The agent works in another folder,
 * so a relative path of a file that exists becomes absolute, also in a URI; all else is for the
 * agent to find or to refuse. A URI is sent in its canonical form.
 * @throws {Failure} malformed, for a URI that `refusesProvider` refuses
 */
export function providerPath(given: string): string {
  if (!isPkcs11Uri(given)) return libraryPath(given);
  const uri = parsePkcs11Uri(given);
  const modulePath = uri.modulePath === undefined ? undefined : libraryPath(uri.modulePath);
  return formatPkcs11Uri({ ...uri, modulePath });
}

/**
 * Refuses a PKCS#11 URI that no agent should see, and says why. This is done before anything else,
 * so that no PIN is asked for in vain.
 * @returns false when there is nothing to refuse
 */
export function refusesProvider({ action, provider }: Options, console: Console): boolean {
  if (action !== "add-card" && action !== "remove-card") return false;
  try {
    providerPath(provider);
    return false;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const verb = action === "add-card" ? "add" : "remove";
    console.note(`Could not ${verb} card "${hidePin(provider)}": URI not accepted`);
    explain(console, error.message, error.hint);
    return true;
  }
}

/** What to do about an agent that refuses a URI and tells no reason: it may not know them. */
export const uriHint =
  "Agents other than cardagent's do not know PKCS#11 URIs; give them the path of the library.";

function libraryPath(given: string): string {
  return given !== "" && !given.startsWith("/") && existsSync(given) ? resolve(given) : given;
}
