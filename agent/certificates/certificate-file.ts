/** Reads certificates from files whose content decides which identities the agent offers. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { parsePublicKeyLine } from "../../openssh/public-key-line.ts";
import { decodeText } from "../../protocol/text.ts";
import { type VerifiedKey, verifyKeyOrCertificate } from "../../protocol/verification.ts";

/** A certificate and its plain key. */
export interface CertificateFile extends VerifiedKey {
  /** The certificate's blob. */
  readonly blob: Buffer;
}

/** What a file holds: a certificate, nothing of interest, or something that is passed over. */
export type FileContent =
  | ({ readonly type: "certificate" } & CertificateFile)
  | { readonly type: "other" }
  | { readonly type: "refused"; readonly reason: string };

/** No certificate is nearly as long. */
const maxLength = 64 * 1024;
const writableByOthers = 0o022;

/** Reads a file. Plain keys, and files that are not whole yet, are "other". @throws the system's errors */
export async function readCertificateFile(path: string): Promise<FileContent> {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
  const file = await open(path, flags);
  try {
    const reason = await reasonToRefuse(file);
    if (reason !== undefined) return { type: "refused", reason };
    return certificateIn(await readStart(file));
  } finally {
    await file.close();
  }
}

async function reasonToRefuse(file: FileHandle): Promise<string | undefined> {
  const status = await file.stat();
  if (!status.isFile()) return "it is no regular file";
  if (status.uid !== process.getuid?.() && status.uid !== 0) {
    return `it belongs to user ${status.uid}`;
  }
  if ((status.mode & writableByOthers) !== 0) return "others may write it";
  return status.size > maxLength ? "it is too long for a certificate" : undefined;
}

async function readStart(file: FileHandle): Promise<Buffer> {
  const bytes = Buffer.alloc(maxLength);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(bytes, length, maxLength - length, length);
    length += bytesRead;
    if (bytesRead === 0 || length === maxLength) return bytes.subarray(0, length);
  }
}

/** The first certificate of a text with a key in each line. */
function certificateIn(bytes: Buffer): FileContent {
  for (const line of decodeText(bytes).split(/\r?\n/)) {
    const key = parsePublicKeyLine(line);
    if (key === undefined) continue;
    try {
      const verified = verifyKeyOrCertificate(key.blob);
      if (verified.certificate !== undefined) {
        return { type: "certificate", ...verified, blob: key.blob };
      }
    } catch {
      // Its signature does not verify: the file may not be whole.
    }
  }
  return { type: "other" };
}
