/** Certificates from the command line that are for keys on cards. */
import { explain } from "./agent.ts";
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
    context.console.log(problem.sentence);
    explain(context.console, "", problem.hint);
    complete = false;
  }
  return complete ? certificates : undefined;
}

/** What is wrong with a file, and what to do. */
interface Problem {
  readonly sentence: string;
  readonly hint: string;
}

function tryRead(context: Context, path: string, into: CertificateFile[]): Problem | undefined {
  try {
    const file = readCertificateFile(path);
    if (certificateLifetime(file.certificate, context.now()) === undefined) {
      const hint = "Get a new certificate from its authority.";
      return { sentence: `Certificate ${path} has already expired`, hint };
    }
    into.push(file);
    return undefined;
  } catch (error) {
    if (!(error instanceof PublicKeyFileError)) throw error;
    const hint = "Name the certificate's own file; ssh-keygen calls it NAME-cert.pub.";
    return { sentence: `Failed to load certificate "${path}": ${error.message}`, hint };
  }
}
