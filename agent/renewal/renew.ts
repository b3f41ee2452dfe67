/** Renews one certificate: runs the program, checks the certificate that it prints, and attaches it. */
import { maxDuration } from "../../openssh/duration.ts";
import { parsePublicKeyLine } from "../../openssh/public-key-line.ts";
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { forever, plainAlgorithm } from "../../protocol/certificate.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { blobAlgorithm, blobId } from "../../protocol/public-key.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent } from "../agent.ts";
import { SessionBindings } from "../policy/session.ts";
import { type Attacher, attachCertificate } from "../requests/attach-certificate.ts";
import { runProgram } from "./program.ts";
import { type CertifiedIdentity, nameOf, type RenewableKey } from "./renewals.ts";

/** Seconds for which a certificate is kept after its end, as by `ssh-add --cert-for-card`. */
const grace = 300n;

/**
 * Gets a certificate from the program and attaches it as `ssh-add --cert-for-card` does, within the
 * limits of its key and of the older certificate.
 * @param program an absolute path
 * @param signal ends the program
 * @returns the blob of the certificate
 * @throws an error whose message is a sentence for the user
 */
export async function renew(
  agent: Agent,
  program: string,
  key: RenewableKey,
  signal: AbortSignal,
): Promise<Buffer> {
  const attacher = { bindings: new SessionBindings(), upstreams: agent.upstreams.forClient() };
  try {
    await checkUpstream(attacher, key);
    const output = await runProgram({
      program,
      environment: process.env,
      keyLine: lineOf(key.keyBlob, key.comment),
      certificateLine: key.older && lineOf(key.older.blob, key.older.comment),
      clock: agent.clock,
      log: (line) => agent.log(`${nameOf(key)}: ${line}`),
      signal,
    });
    signal.throwIfAborted();
    agent.lock.throwIfLocked();
    const certificate = checkOutput(output, key, agent.wallClock());
    const request = {
      certificate,
      comment: key.older?.comment ?? "",
      replace: true,
      constraints: constraintsFor(agent, certificate, key.older),
    };
    await attachCertificate(agent, attacher, request, key.older);
    return certificate;
  } finally {
    attacher.upstreams.close();
  }
}

/** Checks that an upstream agent still has the key, before a CA is asked for a certificate. */
async function checkUpstream({ upstreams }: Attacher, key: RenewableKey): Promise<void> {
  if (key.upstream === undefined) return;
  const listed = await upstreams.to(key.upstream).list();
  if (listed.has(blobId(key.keyBlob))) return;
  throw new Error(`The agent at ${key.upstream} does not hold the key.`);
}

/** The line of a key or certificate. Its comment may be any client's. */
function lineOf(blob: Buffer, comment: string): string {
  return `${blobAlgorithm(blob)} ${blob.toString("base64")} ${sanitizeName(comment)}`;
}

/**
 * The certificate in the program's output: of the same key and CA, a user's, valid now, and longer than
 * the older one. Lines that are no certificates are ignored.
 * @param now seconds since 1970
 */
function checkOutput(output: string, { keyBlob, older }: RenewableKey, now: bigint): Buffer {
  const [found, ...others] = output
    .split(/\r?\n/)
    .flatMap((line) => parsePublicKeyLine(line) ?? [])
    .filter(({ blob }) => plainAlgorithm(blobAlgorithm(blob)) !== undefined);
  if (found === undefined) throw new Error("The program printed no certificate.");
  if (others.length > 0) throw new Error("The program printed more than one certificate.");
  const { certificate, keyBlob: certified } = verifyKeyOrCertificate(found.blob);
  const refuse = (what: string) => new Error(`The program printed a certificate ${what}.`);
  if (certificate === undefined || !certified.equals(keyBlob)) throw refuse("of another key");
  if (certificate.type !== "user") throw refuse("for a host");
  if (certificate.validBefore <= now) throw refuse("that has expired");
  if (certificate.validAfter > now) throw refuse("that is not valid yet");
  if (older === undefined) return found.blob;
  if (!certificate.caKey.equals(older.certificate.caKey)) throw refuse("of another CA");
  if (certificate.validBefore > older.certificate.validBefore) return found.blob;
  throw refuse("that does not last longer than the one before");
}

/** The constraints of `ssh-add --cert-for-card`; with -N, if the older certificate had that. */
function constraintsFor(
  { settings, wallClock }: Agent,
  blob: Buffer,
  older: CertifiedIdentity | undefined,
): Constraint[] {
  const { certificateGrace } = settings;
  const isDropped = older === undefined || older.dropped !== undefined;
  if (!isDropped && certificateGrace !== undefined) return [{ type: "keep-ended-certificate" }];
  const end = verifyKeyOrCertificate(blob).certificate?.validBefore ?? forever;
  const seconds = end - wallClock() + grace;
  return seconds > maxDuration ? [] : [{ type: "lifetime", seconds: Number(seconds) }];
}
