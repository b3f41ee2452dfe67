/**
 * Restricts what keys on FIDO authenticators sign. Web sites use such keys too, and a client must not
 * get a site's challenge signed by the agent: a key for an application other than SSH signs only data
 * in SSH's own formats.
 */
import { Failure } from "../../protocol/failure.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import { Reader } from "../../protocol/wire.ts";
import { parseAllowedProviders } from "./allowed-providers.ts";
import { parseUserauth } from "./userauth.ts";

/**
 * Refuses to sign data that may come from a web site.
 * @param applications patterns of the applications that may sign any data; undefined for all
 * @param application of the key, such as `ssh:`
 * @param keyBlob the blob of the signing identity
 * @throws {Failure} unsupported
 */
export function checkWebsafe(
  applications: string | undefined,
  application: string,
  data: Buffer,
  keyBlob: Buffer,
): void {
  if (applications === undefined) return;
  if (parseAllowedProviders(applications).allows(application)) return;
  if (isLogin(data, keyBlob) || isSignedFile(data)) return;
  throw new Failure(
    "unsupported",
    `A key for ${JSON.stringify(application)} signs logins and files only; this is neither.`,
    "Start ssh-agent with -O websafe-allow=LIST to allow applications, or with -O no-restrict-websafe.",
  );
}

function isLogin(data: Buffer, keyBlob: Buffer): boolean {
  const login = parseUserauth(data, keyBlob);
  if (login?.hostKey === undefined) return login !== undefined;
  try {
    verifyKeyOrCertificate(login.hostKey);
    return true;
  } catch {
    return false;
  }
}

/** Whether data is what `ssh-keygen -Y sign` signs (OpenSSH's PROTOCOL.sshsig). */
function isSignedFile(data: Buffer): boolean {
  const magic = "SSHSIG";
  if (data.toString("latin1", 0, magic.length) !== magic) return false;
  try {
    const reader = new Reader(data.subarray(magic.length));
    reader.cString(); // namespace
    reader.string(); // reserved
    reader.cString(); // hash algorithm
    reader.string(); // hash
    reader.end();
    return true;
  } catch {
    return false;
  }
}
