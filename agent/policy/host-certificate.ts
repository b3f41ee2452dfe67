/** Host certificates. */
import { matchesPattern } from "../../openssh/patterns.ts";
import type { VerifiedCertificate } from "../../protocol/certificate.ts";
import { invalidCertificate } from "../../protocol/failure.ts";
import { blobAlgorithm } from "../../protocol/public-key.ts";

/** The algorithms of CA signatures that OpenSSH trusts: not SHA-1, not DSA. */
const caSignatureAlgorithms: ReadonlySet<string> = new Set([
  "ssh-ed25519",
  "ssh-mldsa44-ed25519@openssh.com",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "sk-ssh-ed25519@openssh.com",
  "sk-ecdsa-sha2-nistp256@openssh.com",
  "rsa-sha2-512",
  "rsa-sha2-256",
]);

/**
 * Checks a host certificate, except for its signature and the host's name.
 * @param now seconds since 1970
 * @throws {Failure} malformed
 */
export function checkHostCertificate(certificate: VerifiedCertificate, now: bigint): void {
  const algorithm = blobAlgorithm(certificate.signature);
  if (certificate.type !== "host") {
    throw invalidCertificate("The session's host key is not a host certificate.");
  }
  if (!isValid(certificate, now)) {
    throw invalidCertificate("The session's host certificate is not valid now.");
  }
  if (certificate.principals.length === 0) {
    throw invalidCertificate("The session's host certificate has no principals.");
  }
  if (certificate.criticalOptions.length > 0) {
    throw invalidCertificate("The session's host certificate has a critical option.");
  }
  if (!caSignatureAlgorithms.has(algorithm)) {
    throw invalidCertificate(`The CA signed the session's host certificate with ${algorithm}.`);
  }
}

/**
 * Whether a host certificate that `checkHostCertificate` has accepted is still valid, and for a host.
 * @param now seconds since 1970
 */
export function isForHost(certificate: VerifiedCertificate, host: string, now: bigint): boolean {
  const { principals } = certificate;
  return isValid(certificate, now) && principals.some((name) => matchesPattern(host, name));
}

function isValid({ validAfter, validBefore }: VerifiedCertificate, now: bigint): boolean {
  return validAfter <= now && now < validBefore;
}
