/** Certificates on the command line for keys on tokens. */
import { explain, identitiesOrNone } from "./agent.ts";
import type { Context } from "./context.ts";
import {
  type CertificateFile,
  hasExpired,
  readCertificateFile,
  readCertificateOrKey,
} from "./files/certificate-file.ts";
import { PublicKeyFileError } from "./files/public-key-file.ts";
import { type Description, describe, plainType, summary } from "./identities.ts";

/**
 * Reads the certificates and checks that none has expired, before anything is sent. Each file is read
 * once, since it may be a pipe.
 * @param operands files that may be plain public keys, which OpenSSH's `ssh-add` accepts too and its
 *   agent ignores
 * @returns undefined after reporting an invalid or expired certificate
 */
export function cardCertificates(
  { console, options, now }: Context,
  paths: readonly string[],
  operands: readonly string[] = [],
): CertificateFile[] | undefined {
  const certificates: CertificateFile[] = [];
  let isRefused = false;
  const refuse = (sentence: string, hint: string) => {
    isRefused = true;
    console.log(sentence);
    explain(console, "", hint);
  };
  const add = (path: string, read: (path: string) => CertificateFile | undefined) => {
    try {
      const file = read(path);
      if (file === undefined) {
        if (!options.quiet) console.note(`Ignored ${path}: not a certificate`);
      } else if (hasExpired(file.certificate, now())) {
        refuse(`Certificate ${path} has already expired`, expiredHint);
      } else certificates.push(file);
    } catch (error) {
      if (!(error instanceof PublicKeyFileError)) throw error;
      const hint = "Name the certificate's own file; ssh-keygen calls it NAME-cert.pub.";
      refuse(`Failed to load certificate "${path}": ${error.message}`, hint);
    }
  };
  for (const path of operands) add(path, readCertificateOrKey);
  for (const path of paths) add(path, readCertificateFile);
  return isRefused ? undefined : certificates;
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
