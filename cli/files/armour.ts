/**
 * PEM armour, parsed as bytes: `-----BEGIN LABEL-----`, base64, `-----END LABEL-----`.
 *
 * Editors, mail and shell variables reformat files: spaces at line ends, spaces or a literal `\n` for
 * newlines, added quotes, a byte order mark. None of these is base64, so the decoder ignores them;
 * the lengths within the file show whether it is complete.
 */
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** The content between a BEGIN line and its END line. */
export interface Armoured {
  /** As in "OPENSSH PRIVATE KEY". */
  readonly label: string;
  /** The bytes between the two lines: base64 with any headers. */
  readonly body: Buffer;
}

const begin = "-----BEGIN ";
const dashes = "-----";
const maxLabelLength = 64;

/**
 * Finds the first block with a wanted label. Others may precede it, such as EC parameters or a
 * certificate. The body is a view of `bytes`.
 * @returns undefined without such a block
 */
export function readArmour(
  bytes: Buffer,
  isWanted: (label: string) => boolean,
): Armoured | undefined {
  let start = bytes.indexOf(begin);
  while (start >= 0) {
    const label = readLabel(bytes, start + begin.length);
    if (label === undefined) return undefined;
    // Base64 and headers have no five dashes, so this finds the END line and takes linear time.
    const end = bytes.indexOf(dashes, label.end);
    if (end < 0) return undefined;
    if (isWanted(label.text) && endsBlock(bytes, end, label.text)) {
      return { label: label.text, body: bytes.subarray(label.end, end) };
    }
    start = bytes.indexOf(begin, label.text === "" ? label.end - dashes.length : end);
  }
  return undefined;
}

/** The label before the next five dashes, with its white space collapsed, and their end. */
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
 * Decodes base64 without a string that would hold the secret. Ignores reformatting.
 * @returns undefined for other characters, or when it ends within a byte
 */
export function decodeBase64(body: Buffer): Buffer | undefined {
  const decoded = secretBytes(Math.ceil((body.length * 3) / 4));
  let length = 0;
  let bits = 0;
  let count = 0;
  let isPadded = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] as number;
    if (isIgnored(byte)) continue;
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

/** White space, quotes, and non-ASCII characters such as byte order marks and no-break spaces. */
function isIgnored(byte: number): boolean {
  return byte <= 0x20 || byte >= 0x80 || byte === 0x22 || byte === 0x27;
}

/** A literal `\n`, `\r` or `\t`, or a line continuation. */
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

/** A view of a text file without its byte order mark, which some editors add. */
export function withoutByteOrderMark(bytes: Buffer): Buffer {
  const isMarked = bytes.subarray(0, byteOrderMark.length).equals(byteOrderMark);
  return isMarked ? bytes.subarray(byteOrderMark.length) : bytes;
}
