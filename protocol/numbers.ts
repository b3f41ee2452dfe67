/** The numbers of RFC 9987: message types (section 5.1), constraints and signature flags. */

/** The longest frame, without its length field: 256 KiB, as OpenSSH has it. */
export const maxFrameLength = 256 * 1024;

/** Message numbers of requests. */
export const requestNumbers = {
  /** Protocol 1; still sent by old clients, answered as empty. */
  requestRsaIdentities: 1,
  /** Protocol 1; still sent by `ssh-add -D`. */
  removeAllRsaIdentities: 9,
  requestIdentities: 11,
  sign: 13,
  addIdentity: 17,
  removeIdentity: 18,
  removeAllIdentities: 19,
  addSmartcardKey: 20,
  removeSmartcardKey: 21,
  lock: 22,
  unlock: 23,
  addIdentityConstrained: 25,
  addSmartcardKeyConstrained: 26,
  extension: 27,
} as const;

/** Message numbers of replies. */
export const replyNumbers = {
  /** Protocol 1; the answer to `requestRsaIdentities`. */
  rsaIdentities: 2,
  failure: 5,
  success: 6,
  identities: 12,
  signature: 14,
  extensionFailure: 28,
  extensionResponse: 29,
} as const;

/** Types of key constraints (RFC 9987, section 3.2.7). */
export const constraintNumbers = { lifetime: 1, confirm: 2, maxsign: 3, extension: 255 } as const;

/**
 * Flags of a sign request (RFC 9987, section 3.6.1): with which hash an RSA key signs. Without one it is
 * SHA-1, which servers have ceased to accept. Other keys take no notice.
 */
export const signatureFlags = { rsaSha256: 2, rsaSha512: 4 } as const;
