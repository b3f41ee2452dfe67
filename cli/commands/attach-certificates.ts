/** `ssh-add --cert-for-card CERT`: attaches a certificate to a key that the agent holds. */
import { AgentRefusal } from "../../protocol/client.ts";
import { explain, explainOldClients, explainRefusal, knownAgent, refusalText } from "../agent.ts";
import { cardCertificates, showKeys } from "../card-certificates.ts";
import { constraintsFor, describeLimits, keepEndedConstraint } from "../constraints.ts";
import type { Context } from "../context.ts";
import {
  type CertificateFile,
  certificateLifetime,
  shorterLifetime,
} from "../files/certificate-file.ts";

/** Attaches the named certificates. This needs no PIN and sends no private key. */
export async function attachCertificates(context: Context): Promise<number> {
  const certificates = cardCertificates(context, context.options.cardCertificates);
  if (certificates === undefined) return 1;
  let status = 0;
  for (const certificate of certificates) {
    if (!(await attach(context, certificate))) status = 1;
  }
  return status;
}

async function attach(context: Context, file: CertificateFile): Promise<boolean> {
  const { client, console, options, now } = context;
  const { path, blob, certificate } = file;
  const untilExpiry = options.ignoresExpiry ? 0 : (certificateLifetime(certificate, now()) ?? 0);
  const lifetime = shorterLifetime(options.lifetime, untilExpiry);
  const constraints = [
    ...(await constraintsFor(context, lifetime)),
    ...(await keepEndedConstraint(context)),
  ];
  try {
    await client.addCertificate({ certificate: blob, comment: "", replace: true, constraints });
  } catch (error) {
    console.note(`Could not add certificate "${path}": ${refusalText(error)}`);
    if (!(await explainRefusal(client, console, error))) explainAgent(context, error);
    else if ((await client.failureReason())?.code === "no-matching-key") {
      await showKeys(context, blob);
    }
    return false;
  }
  if (!options.quiet) {
    console.note(`Certificate added: ${path} (${certificate.keyId})`);
    describeLimits(context, lifetime);
    explainOldClients(console, certificate);
  }
  return true;
}

/** An unknown extension is answered with SSH_AGENT_FAILURE (5), a failed one with 28. */
function explainAgent({ client, console }: Context, error: unknown): void {
  if (!(error instanceof AgentRefusal) || error.isExtensionFailure) return;
  const { reason, hint } = knownAgent(client.path)?.certificates ?? tooOld;
  explain(console, reason, hint);
}

const tooOld = {
  reason: "This agent cannot attach a certificate to a key that it holds.",
  hint: "With OpenSSH 9.6 and newer, load the token again: ssh-add -e LIB, then ssh-add -s LIB CERT",
};
