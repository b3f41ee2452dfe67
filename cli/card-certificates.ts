/** Certificates from the command line that are for keys on cards. */
import type { Context } from "./context.ts";
import {
  type CertificateFile,
  certificateLifetime,
  readCertificateFile,
} from "./files/certificate-file.ts";
import { PublicKeyFileError } from "./files/public-key-file.ts";

/**
 * Reads the certificates and checks their time, before anything is sent.
 * @returns undefined when one of them is none, or has expired; this was said then
 */
export function cardCertificates(
  context: Context,
  paths: readonly string[],
): CertificateFile[] | undefined {
  const certificates: CertificateFile[] = [];
  let complete = true;
  for (const path of paths) {
    const problem = tryRead(context, path, certificates);
    if (problem === undefined) continue;
    context.console.log(problem);
    complete = false;
  }
  return complete ? certificates : undefined;
}

/** @returns what is wrong with the file, if anything */
function tryRead(context: Context, path: string, into: CertificateFile[]): string | undefined {
  try {
    const file = readCertificateFile(path);
    if (certificateLifetime(file.certificate, context.now()) === undefined) {
      return `Certificate ${path} has already expired`;
    }
    into.push(file);
    return undefined;
  } catch (error) {
    if (!(error instanceof PublicKeyFileError)) throw error;
    return `Failed to load certificate "${path}": ${error.message}`;
  }
}
