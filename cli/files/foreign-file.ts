/** Recognizes files that are not private keys, by how they begin. */
import { secretBytes } from "../../protocol/secret-bytes.ts";
import { readArmour, withoutByteOrderMark } from "./armour.ts";
import { tags } from "./der.ts";

/** A kind of file, and the message for it. */
interface Kind {
  /** Matched against the first bytes, decoded as Latin-1. */
  readonly beginning: RegExp;
  readonly sentence: string;
  /** Whether other users may read such a file. */
  readonly isPublic?: true;
}

const publicKey = "The file is a public key; name the private key, whose name has no .pub.";

const kinds: readonly Kind[] = [
  { beginning: /^$/, sentence: "The file is empty." },
  {
    beginning: /^\s*(sk-)?(ssh|ecdsa)-\S*-cert-v01@openssh\.com AAAA/,
    sentence:
      "The file is a certificate; name the private key, and this is added with it as FILE-cert.pub.",
    isPublic: true,
  },
  { beginning: /^\s*(sk-)?(ssh|ecdsa)-\S+ AAAA/, sentence: publicKey, isPublic: true },
  { beginning: /^---- BEGIN SSH2 PUBLIC KEY ----/, sentence: publicKey, isPublic: true },
  {
    beginning: /^---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----/,
    sentence:
      "The file is a private key of ssh.com; convert it with: puttygen FILE -O private-openssh -o NEWFILE",
  },
  {
    beginning: /^SSH PRIVATE KEY FILE FORMAT 1\./,
    sentence: "The file is a key of SSH protocol 1, which is obsolete.",
  },
  { beginning: /^SSHKRL\n/, sentence: "The file is a list of revoked keys." },
  {
    beginning: /^(\x7fELF|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe)/,
    sentence: "The file is a program or library; load a PKCS#11 library with: ssh-add -s FILE",
  },
  {
    beginning: /^(\xff\xfe|\xfe\xff)/,
    sentence: "The file is text in UTF-16; save it in UTF-8.",
  },
  {
    beginning: /^(#.*\n\s*)*AGE-SECRET-KEY-/,
    sentence: "The file is a key of age, which is not for SSH.",
  },
  {
    beginning: /^\s*\{.*"kty"/s,
    sentence: "The file is a JSON Web Key; a key in PEM can be added.",
  },
  {
    beginning: /^(#.*\n|\s)*\S.* (sk-)?(ssh|ecdsa)-\S+ AAAA/,
    sentence: "The file is a list of public keys, not a private key.",
    isPublic: true,
  },
];

/** Descriptions of armour labels; others are shown in lower case. */
const labels: Readonly<Record<string, string>> = {
  CERTIFICATE: "an X.509 certificate",
  "TRUSTED CERTIFICATE": "an X.509 certificate",
  "CERTIFICATE REQUEST": "a request for an X.509 certificate",
  "EC PARAMETERS": "the parameters of a curve",
  "SSH SIGNATURE": "a signature of SSH",
  "PGP PRIVATE KEY BLOCK": "a key of OpenPGP",
  "PGP PUBLIC KEY BLOCK": "a public key of OpenPGP",
};

/** Whether a file is a public key, a certificate or a list of them, which other users may read. */
export function isPublicFile(bytes: Buffer): boolean {
  if (bytes.includes("PRIVATE")) return false;
  const file = withoutByteOrderMark(bytes);
  const armoured = readArmour(file, () => true);
  if (armoured !== undefined) return /\b(PUBLIC KEY|CERTIFICATE)\b/.test(armoured.label);
  return kindOf(file)?.isPublic ?? false;
}

function kindOf(file: Buffer): Kind | undefined {
  const beginning = beginningOf(file);
  return kinds.find((known) => known.beginning.test(beginning));
}

const maxWord = 9;

/**
 * The beginning up to a control character, as Latin-1, with each word cut to nine characters: the file
 * may hold a private key, and a string cannot be overwritten.
 */
function beginningOf(file: Buffer): string {
  const kept = secretBytes(512);
  let [length, word] = [0, 0];
  for (const byte of file.subarray(0, kept.length)) {
    word = endsWord(byte) ? 0 : word + 1;
    if (word <= maxWord) kept[length++] = byte;
    if (byte < 0x20 && !isSpace(byte)) break;
  }
  const text = kept.toString("latin1", 0, length);
  kept.fill(0);
  return text;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

/** White space and `"-.@`: then no word in `kinds` is longer than nine characters. */
function endsWord(byte: number): boolean {
  return isSpace(byte) || byte === 0x22 || byte === 0x2d || byte === 0x2e || byte === 0x40;
}

/** One sentence about what a file is. It quotes nothing of the file. */
export function describeNonKey(file: Buffer): string {
  const armoured = readArmour(file, () => true);
  if (armoured !== undefined) {
    const { label } = armoured;
    const isPlain = /^[A-Z0-9 ]+$/.test(label);
    const name = labels[label] ?? (isPlain ? `a ${label.toLowerCase()}` : "something else");
    return `The file holds ${name}, not a private key.`;
  }
  const beginning = beginningOf(file);
  if (/^\s*-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(beginning)) {
    return "The file is a private key whose end is missing.";
  }
  return kindOf(file)?.sentence ?? describeDer(file) ?? "The file is not a private key.";
}

/** Describes a file in DER by its first field: the version of a private key or of PKCS#12. */
function describeDer(file: Buffer): string | undefined {
  const lengthByte = file[1] ?? 0;
  const width = lengthByte < 0x80 ? 0 : lengthByte & 0x7f;
  if (file[0] !== tags.sequence || width > 4 || file.length < 6 + width) return undefined;
  const length = width === 0 ? lengthByte : file.readUIntBE(2, width);
  const content = file.subarray(2 + width);
  if (length !== content.length) return undefined;
  if (content[0] !== tags.integer) {
    return "The file is a certificate or a key in DER; give a private key in PEM.";
  }
  if (content[2] === 3) {
    return "The file is PKCS#12; take the key out with: openssl pkcs12 -in FILE -nocerts -out NEWFILE";
  }
  return "The file is a private key in DER; convert it with: openssl pkey -inform DER -in FILE -out NEWFILE";
}
