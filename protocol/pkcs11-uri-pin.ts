/**
 * PINs in PKCS#11 URIs, which RFC 7512 (section 2.4) allows and this project does not take: whoever
 * may list the processes of a machine reads the command lines of all users.
 */
import { Failure } from "./failure.ts";
import { type AttributeName, pathAttributes, queryAttributes, scheme } from "./pkcs11-uri-names.ts";

/** The attributes that hold no PIN. */
const harmless: readonly AttributeName[] = [...pathAttributes, ...queryAttributes];

const hint =
  "Leave it out: ssh-add asks for the PIN; scripts answer with SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force.";

/**
 * Refuses an attribute that gives a PIN or says where one is. The reason holds nothing of it.
 * @param name the attribute's name as it was written
 * @throws {Failure} malformed
 */
export function refusePin(name: string): void {
  if (!isAboutPin(name)) return;
  const sentence = isSource(name)
    ? "The attribute pin-source is not taken: the agent reads no PIN from files or programs that a client names."
    : "The attribute pin-value is not taken: everybody on the machine can see a PIN on a command line.";
  throw new Failure("malformed", sentence, hint);
}

/**
 * A URI as it may be shown to people, whether it is well-formed or not: the value of `pin-value`
 * becomes "…". A PIN that was not percent-encoded may hold any character, so it ends only where an
 * attribute of the standard begins: hiding too much does no harm.
 */
export function hidePin(text: string): string {
  let shown = text.slice(0, scheme.length);
  let hiding = false;
  let delimiter = "";
  for (const part of text.slice(scheme.length).split(/(?<=[;?&])/)) {
    const name = /^[\w-]*/.exec(part)?.[0] ?? "";
    const isPin = isAboutPin(name) && !isSource(name);
    const isHarmless = part[name.length] === "=" && harmless.some((known) => known === name);
    if (hiding && (isPin || isHarmless)) {
      shown += delimiter;
      hiding = false;
    }
    if (isPin) {
      shown += "pin-value=…";
      hiding = true;
    } else if (!hiding) shown += part;
    delimiter = part.slice(-1);
  }
  return shown;
}

/** Also under the names of drafts and of other programs: x-pin-value, pin. */
function isAboutPin(name: string): boolean {
  return name.toLowerCase().split(/[-_]/).includes("pin");
}

function isSource(name: string): boolean {
  return name.toLowerCase().endsWith("source");
}
