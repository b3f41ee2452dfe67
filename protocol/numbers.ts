/** The numbers of RFC 9987: message types (section 5.1), constraints and signature flags. */

/** OpenSSH's limit for a message: 256 KiB, without the length field. */
export const maxFrameLength = 256 * 1024;

/** Message numbers of requests, by the types of `Request`. */
export const requestNumbers = {
  /** Protocol 1; old clients still send it. */
  "request-rsa-identities": 1,
  /** Protocol 1; `ssh-add -D` still sends it. */
  "remove-all-rsa-identities": 9,
  "request-identities": 11,
  sign: 13,
  "add-identity": 17,
  "remove-identity": 18,
  "remove-all-identities": 19,
  "add-smartcard-key": 20,
  "remove-smartcard-key": 21,
  lock: 22,
  unlock: 23,
  "add-identity-constrained": 25,
  "add-smartcard-key-constrained": 26,
  extension: 27,
} as const;

/** Message numbers of replies. */
export const replyNumbers = {
  /** Protocol 1; the reply to `request-rsa-identities`. */
  rsaIdentities: 2,
  failure: 5,
  success: 6,
  identities: 12,
  signature: 14,
  extensionFailure: 28,
  extensionResponse: 29,
} as const;

/** Types of constraints (RFC 9987, section 3.2.7). */
export const constraintNumbers = { lifetime: 1, confirm: 2, maxsign: 3, extension: 255 } as const;

/**
 * Flags of a sign request (RFC 9987, section 3.6.1): the hash that an RSA key signs with. The default is
 * SHA-1, which servers no longer accept. Other key types ignore the flags.
 */
export const signatureFlags = { rsaSha256: 2, rsaSha512: 4 } as const;

/** The name of a number in a table of numbers by name. */
export function nameOfNumber<Name extends string>(
  numbers: Readonly<Record<Name, number>>,
  number: number,
): Name | undefined {
  return (Object.keys(numbers) as Name[]).find((name) => numbers[name] === number);
}
