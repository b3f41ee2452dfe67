/** `ssh-add -s LIB` or `-s URI`: loads a PKCS#11 provider, with certificates for its keys. */

import { isPkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import { AgentRefusal } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { explain, explainRefusal, refusalText } from "../agent.ts";
import { cardCertificates } from "../card-certificates.ts";
import { constraintsFor, keepEndedConstraint } from "../constraints.ts";
import type { Context } from "../context.ts";
import type { CertificateFile } from "../files/certificate-file.ts";
import { loadWithCertificates } from "../older-agents.ts";
import { providerPath, uriHint } from "../provider-path.ts";
import { Spinner } from "../spinner.ts";

/** Asks for the PIN and loads the provider. Certificates are read before the PIN is asked for. */
export async function addCard(context: Context): Promise<number> {
  const { client, console, options, prompter } = context;
  const certificates = cardCertificates(context, [
    ...options.operands,
    ...options.cardCertificates,
  ]);
  if (certificates === undefined) return 1;
  // The agent gets ready while the PIN is asked for. One that does not know of this refuses.
  void client.prepareProvider(providerPath(options.provider)).catch(() => {});
  const constraints = await constraintsFor(context, options.lifetime);
  const pin = await prompter.askOrCancel("Enter passphrase for PKCS#11: ");
  if (pin === undefined) return withoutPin(context);
  const waiting = new Spinner(console, "Loading card…");
  try {
    const provider = providerPath(options.provider);
    const taken = await load(context, { provider, pin, constraints, certificates });
    waiting.end();
    if (!options.quiet) console.note(`Card added: ${options.provider}`);
    return taken ? await checkCertificates(context, certificates) : withoutCertificates(context);
  } catch (error) {
    waiting.end();
    console.note(`Could not add card "${options.provider}": ${refusalText(error)}`);
    if (!(await explainRefusal(client, console, error))) guess(context, error);
    return 1;
  } finally {
    pin.fill(0);
  }
}

/** Somebody who cancels does not want a card without its PIN in the place of what is loaded. */
function withoutPin({ console, options }: Context): number {
  console.note(`Could not add card "${options.provider}": no PIN was entered`);
  explain(console, "", "To load a card without its PIN, answer with the return key alone.");
  return 1;
}

/** What is to be loaded. */
export interface CardRequest {
  readonly provider: string;
  readonly pin: Buffer;
  readonly constraints: readonly Constraint[];
  readonly certificates: readonly CertificateFile[];
}

/** @returns whether the agent took the certificates; true when there are none */
async function load(context: Context, request: CardRequest): Promise<boolean> {
  const { client, options } = context;
  const { provider, pin, constraints, certificates } = request;
  if (certificates.length === 0) {
    await client.addSmartcardKey(provider, pin, constraints);
    return true;
  }
  const associated: Constraint = {
    type: "associated-certs",
    certsOnly: options.certificatesOnly,
    certificates: certificates.map(({ blob }) => blob),
  };
  const keepEnded = await keepEndedConstraint(context);
  const card = { ...request, constraints: [...constraints, ...keepEnded] };
  return loadWithCertificates(client, card, associated);
}

/**
 * Agents pass over a certificate that fits no key of the card, as OpenSSH's does. One that was asked
 * for by name with `--cert-for-card` must not be missed in silence.
 */
async function checkCertificates(
  { client, console, options }: Context,
  certificates: readonly CertificateFile[],
): Promise<number> {
  if (certificates.length === 0) return 0;
  // The card is loaded by now: an agent that does not list leaves nothing to say.
  const identities = await client.identities().catch(() => undefined);
  if (identities === undefined) return 0;
  const strays = certificates.filter(
    ({ blob }) => !identities.some(({ keyBlob }) => keyBlob.equals(blob)),
  );
  for (const { path } of strays) console.note(`Certificate ${path} fits no key of this card`);
  return strays.some(({ path }) => options.cardCertificates.includes(path)) ? 1 : 0;
}

function withoutCertificates({ console }: Context): number {
  console.note("The certificates were not added: this agent takes none for keys on cards.");
  explain(console, "", "Use an agent that does: cardagent, or OpenSSH 9.6 and newer.");
  return 1;
}

/** What often is behind the refusal of an agent that tells no reasons. */
function guess({ console, options }: Context, error: unknown): void {
  if (!(error instanceof AgentRefusal)) return;
  const tooOld = `Agents of OpenSSH 9.3 and older keep a library loaded after -D; try first: ssh-add -e ${options.provider}`;
  explain(console, "", isPkcs11Uri(options.provider) ? uriHint : tooOld);
}
