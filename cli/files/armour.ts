/**
 * The armour of key files: `-----BEGIN NAME-----`, base64, `-----END NAME-----`, read as bytes.
 *
 * Files are bent on their way through editors, mails and variables of a shell: blanks stand at the
 * ends of lines, or in the place of newlines, or `\n` does as it is typed; quotes and a byte order
 * mark come along. None of these is a character of base64, so all are passed over. Whether a file is
 * whole is told by the lengths within it.
 */
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** What stands between a BEGIN line and its END line. */
export interface Armoured {
  /** As in "OPENSSH PRIVATE KEY". */
  readonly label: string;
  /** The bytes between the two lines, still in base64 and with any headers. */
  readonly body: Buffer;
}

const begin = "-----BEGIN ";
const dashes = "-----";
const maxLabelLength = 64;

/**
 * Takes the armour off the first block whose label is wanted: others may stand before it, such as
 * the parameters of a curve or a certificate. The body is a view of `bytes`.
 * @returns undefined where there is no such block
 */
export function readArmour(
  bytes: Buffer,
  isWanted: (label: string) => boolean,
): Armoured | undefined {
  let start = bytes.indexOf(begin);
  while (start >= 0) {
    const label = readLabel(bytes, start + begin.length);
    if (label === undefined) return undefined;
    // Neither base64 nor a header holds five dashes, so each byte is looked at once.
    const end = bytes.indexOf(dashes, label.end);
    if (end < 0) return undefined;
    if (isWanted(label.text) && endsBlock(bytes, end, label.text)) {
      return { label: label.text, body: bytes.subarray(label.end, end) };
    }
    start = bytes.indexOf(begin, label.text === "" ? label.end - dashes.length : end);
  }
  return undefined;
}

/** What stands up to the next five dashes, and where those end; blanks in it count once. */
function readLabel(bytes: Buffer, start: number) {
  const end = bytes.indexOf(dashes, start);
  if (end < 0) return undefined;
  const isShort = end - start <= maxLabelLength;
  const text = isShort ? bytes.toString("latin1", start, end).replace(/\s+/g, " ").trim() : "";
  return { text, end: end + dashes.length };
}

function endsBlock(bytes: Buffer, at: number, label: string): boolean {
  const start = at + dashes.length;
  const isEnd = bytes.toString("latin1", start, start + 4) === "END ";
  return isEnd && readLabel(bytes, start + 4)?.text === label;
}

const equals = 0x3d;
const backslash = 0x5c;

/**
 * Decodes base64 that is nothing else, with its padding, as in a line with a public key. Node.js passes
 * over what does not belong there.
 */
export function decodeExactBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

/**
 * Decodes base64 from bytes to bytes: no string holds the secret. What bends a file is passed over.
 * @returns undefined when it holds anything else, or ends within a byte
 */
export function decodeBase64(body: Buffer): Buffer | undefined {
  const decoded = secretBytes(Math.ceil((body.length * 3) / 4));
  let length = 0;
  let bits = 0;
  let count = 0;
  let isPadded = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] as number;
    if (isBetween(byte)) continue;
    if (byte === backslash && isEscape(body[at + 1])) {
      at++;
      continue;
    }
    const value = sextet(byte);
    if (byte === equals) isPadded = true;
    else if (value < 0 || isPadded) {
      decoded.fill(0);
      return undefined;
    } else {
      bits = ((bits << 6) | value) & 0xffff;
      count += 6;
      if (count >= 8) {
        count -= 8;
        decoded[length++] = (bits >> count) & 0xff;
      }
    }
  }
  if (count < 6) return decoded.subarray(0, length);
  decoded.fill(0);
  return undefined;
}

/** White space, quotes, and all that is not US-ASCII, as byte order marks and no-break spaces are. */
function isBetween(byte: number): boolean {
  return byte <= 0x20 || byte >= 0x80 || byte === 0x22 || byte === 0x27;
}

/** `\n`, `\r` and `\t` as they are typed, and a line that goes on behind a backslash. */
function isEscape(byte: number | undefined): boolean {
  return byte === 0x6e || byte === 0x72 || byte === 0x74 || byte === 0x0a || byte === 0x0d;
}

function sextet(byte: number): number {
  if (byte >= 0x41 && byte <= 0x5a) return byte - 0x41;
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x61 + 26;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 52;
  if (byte === 0x2b) return 62;
  return byte === 0x2f ? 63 : -1;
}

const byteOrderMark = Buffer.from("\ufeff");

/** A text file without the byte order mark that some editors put before it, as a view. */
export function withoutByteOrderMark(bytes: Buffer): Buffer {
  const isMarked = bytes.subarray(0, byteOrderMark.length).equals(byteOrderMark);
  return isMarked ? bytes.subarray(byteOrderMark.length) : bytes;
}
