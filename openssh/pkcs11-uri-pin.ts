/**
 * PINs in PKCS#11 URIs, which RFC 7512 (section 2.4) allows and this project does not take: whoever
 * may list the processes of a machine reads the command lines of all users.
 */
import { Failure } from "../protocol/failure.ts";
import { type AttributeName, pathAttributes, queryAttributes, scheme } from "./pkcs11-uri-names.ts";

/** The attributes that hold no PIN. */
const harmless: readonly AttributeName[] = [...pathAttributes, ...queryAttributes];

const hint =
  "Leave it out: ssh-add asks for the PIN; scripts answer with SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force.";

/** One attribute, or a piece of what is none, with the delimiter that it ends in. */
interface Part {
  readonly text: string;
  readonly holds: "pin" | "source" | "other";
}

/**
 * Refuses a URI with an attribute that gives a PIN or says where one is, also in a wrong place. The
 * reason holds nothing of it.
 * @throws {Failure} malformed
 */
export function refusePin(uri: string): void {
  const found = partsOf(uri).find(({ holds }) => holds !== "other");
  if (found === undefined) return;
  const sentence =
    found.holds === "source"
      ? "The attribute pin-source is not taken: the agent reads no PIN from files or programs that a client names."
      : "The attribute pin-value is not taken: everybody on the machine can see a PIN on a command line.";
  throw new Failure("malformed", sentence, hint);
}

/**
 * A URI as it may be shown to people, whether it is well-formed or not: the value of `pin-value`
 * becomes "…". A PIN that was not percent-encoded may hold any character, so it ends only where an
 * attribute of the standard begins: hiding too much does no harm.
 */
export function hidePin(uri: string): string {
  let shown = uri.slice(0, scheme.length);
  let hiding = false;
  let delimiter = "";
  for (const { text, holds } of partsOf(uri)) {
    if (hiding && (holds === "pin" || isHarmless(text))) {
      shown += delimiter;
      hiding = false;
    }
    if (holds === "pin") {
      shown += "pin-value=…";
      hiding = true;
    } else if (!hiding) shown += text;
    delimiter = text.slice(-1);
  }
  return shown;
}

/** Cut at every delimiter, for an attribute may stand behind the wrong one. */
function partsOf(uri: string): Part[] {
  const parts = uri.slice(scheme.length).split(/(?<=[;?&])/);
  return parts.map((text) => ({ text, holds: contentOf(nameOf(text)) }));
}

/** The name may be one of drafts or of other programs, too: x-pin-value, pin. */
function contentOf(name: string): Part["holds"] {
  const words = name.toLowerCase().split(/[-_]/);
  if (!words.includes("pin")) return "other";
  return words.includes("source") ? "source" : "pin";
}

function isHarmless(text: string): boolean {
  const name = nameOf(text);
  return text[name.length] === "=" && harmless.some((known) => known === name);
}

function nameOf(text: string): string {
  return /^[\w-]*/.exec(text)?.[0] ?? "";
}
