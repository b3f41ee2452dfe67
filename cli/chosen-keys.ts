/** `--only`: which keys of a PKCS#11 library are loaded. */
import { type Constraint, isFingerprint } from "../protocol/constraints.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import type { Identity } from "../protocol/replies.ts";
import { explain, identitiesOrNone, warnStillListed } from "./agent.ts";
import { onlyKeysConstraint } from "./constraints.ts";
import type { Context } from "./context.ts";
import { loadPublicKey, PublicKeyFileError } from "./files/public-key-file.ts";
import { describe } from "./identities.ts";

/** A key that --only names. */
interface ChosenKey {
  /** As it was given: a fingerprint or a file. */
  readonly name: string;
  readonly fingerprint: string;
  /** Whether the file is a certificate, which is then added to its key. */
  readonly isCertificate: boolean;
}

/** @returns undefined after reporting what names no key */
function chosenKeys({ console, options }: Context): ChosenKey[] | undefined {
  const chosen: ChosenKey[] = [];
  for (const name of options.only) {
    if (isFingerprint(name)) {
      chosen.push({ name, fingerprint: name, isCertificate: false });
      continue;
    }
    try {
      const described = describe(loadPublicKey(name).blob);
      if (described === undefined) throw new PublicKeyFileError("invalid format", false);
      const { keyBlob, certificate } = described;
      const isCertificate = certificate !== undefined;
      chosen.push({ name, fingerprint: fingerprint(keyBlob), isCertificate });
    } catch (error) {
      if (!(error instanceof PublicKeyFileError)) throw error;
      console.log(`Failed to load key "${name}": ${error.message}`);
      explain(console, "", "Name a public key file, or a fingerprint as ssh-add -l prints it.");
    }
  }
  return chosen.length === options.only.length ? chosen : undefined;
}

/** The keys of --only in one run. */
export interface Choice {
  /** For the request that loads the library. */
  readonly constraints: readonly Constraint[];
  /** The certificates among the files, to add to their keys. */
  readonly certificates: readonly string[];
  /**
   * Called when the library is loaded. An agent without the constraint lists all of its keys by
   * then; those that are not chosen are removed.
   * @returns the names of the keys that the agent does not list, and whether it lists none
   * @throws as `AgentClient.identities`
   */
  settle(): Promise<{ readonly missing: readonly string[]; readonly isEmpty: boolean }>;
}

/** @returns undefined after reporting what names no key, before anything is sent */
export async function chooseKeys(context: Context): Promise<Choice | undefined> {
  const chosen = chosenKeys(context);
  if (chosen === undefined) return undefined;
  const { client } = context;
  const prints = chosen.map((key) => key.fingerprint);
  const constraint = await onlyKeysConstraint(context, prints);
  const before = constraint === undefined ? await identitiesOrNone(client) : [];
  return {
    constraints: constraint === undefined ? [] : [constraint],
    certificates: chosen.filter((key) => key.isCertificate).map(({ name }) => name),
    async settle() {
      if (constraint === undefined) await removeOthers(context, chosen, before);
      const listed = await client.identities();
      const missing = chosen.filter((key) => !listed.some((one) => isOneOf(one, [key])));
      return {
        missing: missing.map(({ name }) => name),
        isEmpty: missing.length === chosen.length,
      };
    },
  };
}

/**
 * Removes the keys that the agent has added and that are not chosen.
 * @param before the identities that it listed before
 */
async function removeOthers(
  { client, console }: Context,
  chosen: readonly ChosenKey[],
  before: readonly Identity[],
): Promise<void> {
  const isKnown = ({ keyBlob }: Identity) => before.some((one) => one.keyBlob.equals(keyBlob));
  const listed = await client.identities();
  const left: Identity[] = [];
  for (const one of listed) {
    if (isKnown(one) || isOneOf(one, chosen)) continue;
    await client.removeIdentity(one.keyBlob).catch(() => left.push(one));
  }
  await warnStillListed(client, console, "notRemoved", left);
}

/** Whether an identity is one of the chosen keys, or a certificate of one. */
function isOneOf({ keyBlob }: Identity, chosen: readonly ChosenKey[]): boolean {
  const described = describe(keyBlob);
  if (described === undefined) return false;
  const prints = [fingerprint(described.keyBlob), fingerprint(described.keyBlob, "md5")];
  return chosen.some((one) => prints.includes(one.fingerprint));
}
