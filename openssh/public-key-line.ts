/** Public keys and certificates as lines of text: `ALGORITHM BASE64 COMMENT`. */
import { parseKeyOrCertificate } from "../protocol/certificate.ts";
import { blobAlgorithm } from "../protocol/public-key.ts";

/** A public key or certificate with its comment. */
export interface PublicKeyLine {
  readonly blob: Buffer;
  readonly comment: string;
}

/**
 * Parses a line of the form `ALGORITHM BASE64 COMMENT`.
 * @returns undefined for an invalid line
 */
export function parsePublicKeyLine(line: string): PublicKeyLine | undefined {
  const fields = /^[ \t]*(\S+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?$/s.exec(line);
  if (fields === null) return undefined;
  const [, algorithm, base64 = "", comment = ""] = fields;
  const blob = decodeExactBase64(base64);
  if (blob === undefined) return undefined;
  try {
    if (blobAlgorithm(blob) !== algorithm) return undefined;
    parseKeyOrCertificate(blob);
  } catch {
    return undefined;
  }
  return { blob, comment };
}

/** Decodes strict base64 with padding, as in a public key line. Node.js ignores invalid characters. */
export function decodeExactBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}
