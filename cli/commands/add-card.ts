/** `ssh-add -s LIB` or `-s URI`: loads a PKCS#11 provider, with certificates for its keys. */

import { isPkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import { type AgentClient, AgentRefusal } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { variablesOfLibraries } from "../../protocol/extensions/prepare-provider.ts";
import type { RequestOf } from "../../protocol/requests.ts";
import { explain, explainOldClients, explainRefusal, refusalText } from "../agent.ts";
import type { Choice } from "../chosen-keys.ts";
import { constraintsFor, keepEndedConstraint } from "../constraints.ts";
import type { Context } from "../context.ts";
import type { CertificateFile } from "../files/certificate-file.ts";
import { providerPath, uriHint } from "../provider-path.ts";
import { Spinner } from "../spinner.ts";

/** Reads the certificates, asks for the PIN and loads the provider. */
export async function addCard(context: Context): Promise<number> {
  const { client, console, options, prompter } = context;
  const choice = options.only.length === 0 ? everyKey : await chooseKeys(context);
  if (choice === undefined) return 1;
  const named = [...options.cardCertificates, ...choice.certificates];
  const certificates =
    named.length + options.operands.length === 0 ? [] : await readCertificates(context, named);
  if (certificates === undefined) return 1;
  const provider = providerPath(options.provider);
  // The agent loads the library while the user types; other agents refuse this extension.
  void client.prepareProvider(provider, variablesOfLibraries(context.env)).catch(() => {});
  const limits = await constraintsFor(context, options.lifetime);
  const constraints = [...limits, ...choice.constraints];
  const pin = options.asksPin
    ? await prompter.askOrCancel("Enter passphrase for PKCS#11: ")
    : Buffer.alloc(0);
  if (pin === undefined) return withoutPin(context);
  const spinner = new Spinner(console, "Loading token…");
  try {
    const card = { type: "add-smartcard-key", provider, pin, constraints } as const;
    const taken = await load(context, card, certificates).finally(() => pin.fill(0));
    const { missing, isEmpty } = await choice.settle();
    spinner.end();
    if (isEmpty) return await withoutKeys(context, provider);
    if (!options.quiet) console.note(`Card added: ${options.provider}`);
    if (options.verbosity > 0) await debugLeftOut(context, provider);
    for (const name of missing) console.note(`Key ${name} is not on this token`);
    const status = taken
      ? await checkCertificates(context, certificates)
      : withoutCertificates(context);
    return missing.length > 0 ? 1 : status;
  } catch (error) {
    spinner.end();
    console.note(`Could not add card "${options.provider}": ${refusalText(error)}`);
    if (!(await explainRefusal(client, console, error))) suggestCause(context, error);
    return 1;
  }
}

/** Tells what was found and is not used, if the agent says so. */
async function debugLeftOut({ client, debug }: Context, provider: string): Promise<void> {
  const providers = await client.listProviders().catch(() => []);
  const { leftOutText } = await import("../providers-plain.ts");
  for (const { leftOut = [] } of providers.filter(({ requested }) => requested === provider)) {
    for (const one of leftOut) debug(1, `left out: ${leftOutText(one)}`);
  }
}

/** A cancelled PIN prompt must not replace a loaded card by one without a PIN. */
function withoutPin({ console, options }: Context): number {
  console.note(`Could not add card "${options.provider}": no PIN was entered`);
  explain(console, "", "To load a token without its PIN, press Enter, or use -P.");
  return 1;
}

/** Without --only: all keys. */
const everyKey: Choice = {
  constraints: [],
  certificates: [],
  settle: () => Promise.resolve({ missing: [], isEmpty: false }),
};

/** Loaded only for certificates. @returns undefined after reporting one that cannot be used */
async function readCertificates(context: Context, named: readonly string[]) {
  const { cardCertificates } = await import("../card-certificates.ts");
  return cardCertificates(context, named, context.options.operands);
}

/** Loaded only for --only: computing fingerprints loads OpenSSL. */
async function chooseKeys(context: Context): Promise<Choice | undefined> {
  return (await import("../chosen-keys.ts")).chooseKeys(context);
}

/** Unloads a library of whose keys none is chosen, from an agent that has loaded it all the same. */
async function withoutKeys({ client, console, options }: Context, path: string): Promise<number> {
  await client.removeSmartcardKey(path).catch(() => {});
  console.note(`Could not add card "${options.provider}": none of the chosen keys is on it`);
  explain(console, "", `List its keys with: ssh-keygen -D ${options.provider}`);
  return 1;
}

type CardRequest = RequestOf<"add-smartcard-key">;

/** @returns whether the agent took the certificates; true when there are none */
async function load(
  context: Context,
  card: CardRequest,
  certificates: readonly CertificateFile[],
): Promise<boolean> {
  const { client, options } = context;
  if (certificates.length === 0) {
    await client.addSmartcardKey(card.provider, card.pin, card.constraints);
    return true;
  }
  const associated: Constraint = {
    type: "associated-certs",
    certsOnly: options.certificatesOnly,
    certificates: certificates.map(({ blob }) => blob),
  };
  const keepEnded = await keepEndedConstraint(context);
  const constraints = [...card.constraints, ...keepEnded];
  return loadWithCertificates(client, { ...card, constraints }, associated);
}

/**
 * Loads a card with certificates.
 *
 * An agent that answers `query` accepts certificates. Any other may be OpenSSH before 9.6, whose
 * refusal could also mean a wrong PIN. To never try a wrong PIN twice, load the card without
 * certificates first; once the PIN has proved right, load it again with them, and if that is
 * refused, without.
 *
 * @param associated the constraint that holds the certificates
 * @returns whether the agent took the certificates
 * @throws as `addSmartcardKey`, when the card cannot be loaded
 */
async function loadWithCertificates(
  client: AgentClient,
  card: CardRequest,
  associated: Constraint,
): Promise<boolean> {
  const { provider, pin, constraints } = card;
  const withCertificates = [...constraints, associated];
  if (await answersQuery(client)) {
    await client.addSmartcardKey(provider, pin, withCertificates);
    return true;
  }
  await client.addSmartcardKey(provider, pin, constraints);
  await client.removeSmartcardKey(provider);
  try {
    await client.addSmartcardKey(provider, pin, withCertificates);
    return true;
  } catch (error) {
    if (!(error instanceof AgentRefusal)) throw error;
    await client.addSmartcardKey(provider, pin, constraints);
    return false;
  }
}

async function answersQuery(client: AgentClient): Promise<boolean> {
  try {
    await client.query();
    return true;
  } catch (error) {
    if (error instanceof AgentRefusal) return false;
    throw error;
  }
}

/**
 * Agents ignore a certificate that matches no key of the card, as OpenSSH's does. Report it, and fail
 * if `--cert-for-card` named it.
 */
async function checkCertificates(
  context: Context,
  certificates: readonly CertificateFile[],
): Promise<number> {
  if (certificates.length === 0) return 0;
  const { client, console, options } = context;
  // The card is loaded; an agent that does not list its keys leaves nothing to check.
  const identities = await client.identities().catch(() => undefined);
  if (identities === undefined) return 0;
  const unmatched = certificates.filter(
    ({ blob }) => !identities.some(({ keyBlob }) => keyBlob.equals(blob)),
  );
  if (!options.quiet) {
    for (const file of certificates) {
      if (!unmatched.includes(file)) explainOldClients(console, file.certificate);
    }
  }
  for (const { path, blob } of unmatched) {
    console.note(`Certificate ${path} fits no key of this token`);
    if (!options.cardCertificates.includes(path)) continue;
    const { showKeys } = await import("../card-certificates.ts");
    await showKeys(context, blob);
  }
  return unmatched.some(({ path }) => options.cardCertificates.includes(path)) ? 1 : 0;
}

function withoutCertificates({ console }: Context): number {
  console.note("The certificates were not added: this agent accepts none for keys on tokens.");
  explain(console, "", "Use an agent that does: cardagent, or OpenSSH 9.6 and newer.");
  return 1;
}

/** The most likely cause of a refusal by an agent that reports no reason. */
function suggestCause({ console, options }: Context, error: unknown): void {
  if (!(error instanceof AgentRefusal)) return;
  const tooOld = `Agents of OpenSSH 9.3 and older keep a library loaded after -D; try first: ssh-add -e ${options.provider}`;
  explain(console, "", isPkcs11Uri(options.provider) ? uriHint : tooOld);
}
