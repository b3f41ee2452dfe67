/**
 * The data that ssh signs for a login: the publickey request of RFC 4252, section 7, or OpenSSH's
 * `publickey-hostbound-v00@openssh.com`, which also names the host.
 */
import { blobAlgorithm } from "../../protocol/public-key.ts";
import { Reader } from "../../protocol/wire.ts";

/** A login request to be signed. */
export interface UserauthRequest {
  readonly sessionId: Buffer;
  readonly user: string;
  /** The blob of the host's key; undefined in a request that does not name it. */
  readonly hostKey: Buffer | undefined;
}

const userauthRequest = 50;

/**
 * Parses the data to be signed.
 * @param keyBlob the blob of the signing identity, which the request has to name
 * @returns undefined if it is not a login with this key
 */
export function parseUserauth(data: Buffer, keyBlob: Buffer): UserauthRequest | undefined {
  try {
    const reader = new Reader(data);
    const sessionId = reader.string();
    if (sessionId.length === 0 || reader.byte() !== userauthRequest) return undefined;
    const user = reader.cString();
    if (reader.name() !== "ssh-connection") return undefined;
    const method = reader.name();
    const isSigned = reader.byte() === 1;
    const isOwnAlgorithm = isAlgorithmOf(reader.name(), blobAlgorithm(keyBlob));
    const isThisKey = reader.string().equals(keyBlob);
    if (!isSigned || !isOwnAlgorithm || !isThisKey) return undefined;
    const hostKey = readHost(reader, method);
    reader.end();
    return hostKey === false ? undefined : { sessionId, user, hostKey };
  } catch {
    return undefined;
  }
}

/**
 * Whether a signature algorithm is for a type of key: it has the same name, or is RSA with SHA-2
 * (RFC 8332) or ECDSA by webauthn (OpenSSH's PROTOCOL.u2f), with or without a certificate.
 */
function isAlgorithmOf(algorithm: string, keyType: string): boolean {
  const name = algorithm
    .replace(/^rsa-sha2-(256|512)(?=-cert-v01@openssh\.com$|$)/, "ssh-rsa")
    .replace(/^webauthn-(?=sk-ecdsa-)/, "");
  return name === keyType;
}

function readHost(reader: Reader, method: string): Buffer | undefined | false {
  if (method === "publickey") return undefined;
  if (method === "publickey-hostbound-v00@openssh.com") return reader.string();
  return false;
}
