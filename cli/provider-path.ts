/** The path or PKCS#11 URI of a library, as it is sent to an agent. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { formatPkcs11Uri, isPkcs11Uri, parsePkcs11Uri } from "../openssh/pkcs11-uri.ts";
import { hidePin } from "../openssh/pkcs11-uri-syntax.ts";
import { Failure } from "../protocol/failure.ts";
import { explain } from "./agent.ts";
import type { Console } from "./console.ts";
import type { Options } from "./options.ts";

/**
 * Makes the relative path of an existing file absolute, also within a URI, because the agent has
 * another working directory; other names are left for the agent to find or refuse. Canonicalizes a
 * URI.
 * @throws {Failure} malformed, for an invalid URI or one with a PIN
 */
export function providerPath(given: string): string {
  if (!isPkcs11Uri(given)) return libraryPath(given);
  const uri = parsePkcs11Uri(given);
  const modulePath = uri.modulePath === undefined ? undefined : libraryPath(uri.modulePath);
  return formatPkcs11Uri({ ...uri, modulePath });
}

/**
 * Reports an invalid PKCS#11 URI, before the PIN is asked for.
 * @returns whether the URI is invalid
 */
export function rejectInvalidUri({ action, provider }: Options, console: Console): boolean {
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

/** The hint for an agent that refuses a URI without a reason. */
export const uriHint =
  "Agents other than cardagent's do not know PKCS#11 URIs; give them the path of the library.";

function libraryPath(given: string): string {
  return given !== "" && !given.startsWith("/") && existsSync(given) ? resolve(given) : given;
}
