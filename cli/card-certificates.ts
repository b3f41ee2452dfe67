/** Certificates on the command line for keys on tokens. */
import { explain, identitiesOrNone } from "./agent.ts";
import type { Context } from "./context.ts";
import {
  type CertificateFile,
  hasExpired,
  isPlainKeyFile,
  readCertificateFile,
} from "./files/certificate-file.ts";
import { PublicKeyFileError } from "./files/public-key-file.ts";
import { type Description, describe, plainType, summary } from "./identities.ts";

/** The operands without plain public keys, which OpenSSH's `ssh-add` accepts too and its agent ignores. */
export function withoutPlainKeys(
  { console, options }: Context,
  operands: readonly string[],
): string[] {
  return operands.filter((path) => {
    const isPlain = isPlainKeyFile(path);
    if (isPlain && !options.quiet) console.note(`Ignored ${path}: not a certificate`);
    return !isPlain;
  });
}

/**
 * Reads the certificates and checks that none has expired, before anything is sent.
 * @returns undefined after reporting an invalid or expired certificate
 */
export function cardCertificates(
  { console, now }: Context,
  paths: readonly string[],
): CertificateFile[] | undefined {
  const certificates: CertificateFile[] = [];
  const refuse = (sentence: string, hint: string) => {
    console.log(sentence);
    explain(console, "", hint);
  };
  for (const path of paths) {
    try {
      const file = readCertificateFile(path);
      if (!hasExpired(file.certificate, now())) certificates.push(file);
      else refuse(`Certificate ${path} has already expired`, expiredHint);
    } catch (error) {
      if (!(error instanceof PublicKeyFileError)) throw error;
      const hint = "Name the certificate's own file; ssh-keygen calls it NAME-cert.pub.";
      refuse(`Failed to load certificate "${path}": ${error.message}`, hint);
    }
  }
  return certificates.length === paths.length ? certificates : undefined;
}

const expiredHint = "Get a new certificate from its CA.";

/** Shows which key a certificate is for, and those that the agent has. */
export async function showKeys(
  { client, console, options }: Context,
  certificate: Buffer,
): Promise<void> {
  const { fingerprint } = await import("../protocol/fingerprint.ts");
  const wanted = describe(certificate);
  if (wanted === undefined) return;
  const printOf = ({ keyBlob }: Description) => fingerprint(keyBlob, options.hash);
  const lines = new Map<string, string>();
  for (const { keyBlob, comment } of await identitiesOrNone(client)) {
    const held = describe(keyBlob);
    if (held === undefined) continue;
    const plain = { ...held, type: plainType(held) };
    lines.set(printOf(held), summary(plain, printOf(held), comment));
  }
  const has = lines.size === 0 ? "the agent has no keys" : "the agent has:";
  console.note(`It is for the key ${printOf(wanted)} (${plainType(wanted)}); ${has}`);
  for (const line of lines.values()) console.note(line);
}
