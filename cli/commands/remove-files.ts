/** `ssh-add -d`: removes identities, named by files or by public keys on standard input. */
import { existsSync, readFileSync } from "node:fs";
import { identify } from "../../protocol/certificate.ts";
import { decodeText } from "../../protocol/text.ts";
import { explainRefusal, refusalText, tellStillListed } from "../agent.ts";
import type { Context } from "../context.ts";
import { fatal } from "../exit.ts";
import { defaultFiles } from "../files/default-files.ts";
import {
  loadPublicKey,
  PublicKeyFileError,
  type PublicKeyLine,
  parsePublicKeyLine,
  readPublicKeyFile,
} from "../files/public-key-file.ts";
import { describe } from "../identities.ts";

/** The blobs of what the agent says that it has removed. */
type Gone = Buffer[];

/** Removes the identities of the files that were named, or of the default ones. */
export async function removeFiles(context: Context): Promise<number> {
  const { operands } = context.options;
  const paths = operands.length > 0 ? operands : defaultFiles(context.env).filter(existsSync);
  const gone: Gone = [];
  let status = paths.length > 0 ? 0 : 1;
  for (const path of paths) {
    const remove = path === "-" ? removeListed(context, gone) : removeFile(context, path, gone);
    if (!(await remove)) status = 1;
  }
  if (gone.length > 0) await tellStillListed(context.client, context.console, "notRemoved", gone);
  return status;
}

/** Removes the public keys on standard input, one a line. */
async function removeListed(context: Context, gone: Gone): Promise<boolean> {
  let removed = false;
  const lines = decodeText(readFileSync(0)).split("\n");
  for (const [index, line] of lines.entries()) {
    if (/^[ \t]*(#|$)/.test(line)) continue;
    const key = parsePublicKeyLine(line);
    if (key === undefined) context.console.log(`(stdin):${index + 1}: invalid key: invalid format`);
    else if (await removeOne(context, key, "(stdin)", gone)) removed = true;
  }
  return removed;
}

/** Removes a file's key and the certificate that stands beside it. */
async function removeFile(context: Context, path: string, gone: Gone): Promise<boolean> {
  const { console, options } = context;
  let key: PublicKeyLine;
  try {
    key = loadPublicKey(path);
  } catch (error) {
    if (!(error instanceof PublicKeyFileError)) throw error;
    console.print(`Bad key file ${path}: ${error.message}`);
    return false;
  }
  let removed = false;
  if (!options.certificatesOnly || isCertificate(key))
    removed = await removeOne(context, key, path, gone);
  if (options.keysOnly) return removed;
  const certificatePath = `${path}-cert.pub`;
  const certificate = certificateBeside(certificatePath);
  if (certificate === undefined) return removed;
  if (!samePublicKey(certificate, key)) {
    throw fatal(`Certificate ${certificatePath} does not match private key ${path}`);
  }
  return (await removeOne(context, certificate, certificatePath, gone)) || removed;
}

function certificateBeside(path: string): PublicKeyLine | undefined {
  try {
    return readPublicKeyFile(path);
  } catch (error) {
    if (error instanceof PublicKeyFileError) return undefined;
    throw error;
  }
}

async function removeOne(
  context: Context,
  key: PublicKeyLine,
  path: string,
  gone: Gone,
): Promise<boolean> {
  const { client, console, options } = context;
  try {
    await client.removeIdentity(key.blob);
  } catch (error) {
    console.note(`Could not remove identity "${path}": ${refusalText(error)}`);
    await explainRefusal(client, console, error);
    return false;
  }
  gone.push(key.blob);
  const type = describe(key.blob)?.type ?? "";
  if (!options.quiet) console.note(`Identity removed: ${path} ${type} (${key.comment})`);
  return true;
}

function isCertificate({ blob }: PublicKeyLine): boolean {
  return identify(blob)?.certificate !== undefined;
}

function samePublicKey(one: PublicKeyLine, other: PublicKeyLine): boolean {
  const [first, second] = [identify(one.blob), identify(other.blob)];
  return first !== undefined && second !== undefined && first.keyBlob.equals(second.keyBlob);
}
