/** The armour of key files: `-----BEGIN NAME-----`, base64, `-----END NAME-----`, read as bytes. */

/** What stands between a BEGIN line and its END line. */
export interface Armoured {
  /** As in "OPENSSH PRIVATE KEY". */
  readonly label: string;
  /** The bytes between the two lines, still in base64 and with any headers. */
  readonly body: Buffer;
  /** All of it, with the two lines. */
  readonly whole: Buffer;
}

const begin = "-----BEGIN ";
const dashes = "-----";

/**
 * Takes the armour off the first block whose label is wanted: others may stand before it, such as
 * the parameters of a curve or a certificate. The buffers are views of `bytes`.
 * @returns undefined where there is no such block
 */
export function readArmour(
  bytes: Buffer,
  isWanted: (label: string) => boolean,
): Armoured | undefined {
  let start = bytes.indexOf(begin);
  while (start >= 0) {
    const labelEnd = bytes.indexOf(dashes, start + begin.length);
    if (labelEnd < 0) return undefined;
    const label = bytes.toString("latin1", start + begin.length, labelEnd);
    const bodyStart = labelEnd + dashes.length;
    const endLine = `-----END ${label}-----`;
    const end = bytes.indexOf(endLine, bodyStart);
    if (end >= 0 && isWanted(label)) {
      const whole = bytes.subarray(start, end + endLine.length);
      return { label, body: bytes.subarray(bodyStart, end), whole };
    }
    start = bytes.indexOf(begin, bodyStart);
  }
  return undefined;
}

/**
 * Decodes base64 with white space in it, from bytes to bytes: no string holds the secret.
 * @returns undefined when a byte is neither
 */
export function decodeBase64(body: Buffer): Buffer | undefined {
  const decoded = Buffer.alloc(Math.ceil((body.length * 3) / 4));
  let length = 0;
  let bits = 0;
  let count = 0;
  for (const byte of body) {
    if (byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d) continue;
    if (byte === 0x3d) break;
    const value = sextet(byte);
    if (value < 0) {
      decoded.fill(0);
      return undefined;
    }
    bits = ((bits << 6) | value) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      decoded[length++] = (bits >> count) & 0xff;
    }
  }
  return decoded.subarray(0, length);
}

function sextet(byte: number): number {
  if (byte >= 0x41 && byte <= 0x5a) return byte - 0x41;
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x61 + 26;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 52;
  if (byte === 0x2b) return 62;
  return byte === 0x2f ? 63 : -1;
}
