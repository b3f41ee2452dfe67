/** `ssh-add -d`: removes identities, named by files or by public keys on standard input. */
import { existsSync } from "node:fs";
import { fatal } from "../../openssh/exit.ts";
import { parseKeyOrCertificate } from "../../protocol/certificate.ts";
import type { Identity } from "../../protocol/replies.ts";
import { decodeText } from "../../protocol/text.ts";
import { explainRefusal, listAfterwards, refusalText, tellStillListed } from "../agent.ts";
import type { Context } from "../context.ts";
import { defaultFiles } from "../files/default-files.ts";
import {
  loadPublicKey,
  PublicKeyFileError,
  type PublicKeyLine,
  parsePublicKeyLine,
  readPublicKeyFile,
} from "../files/public-key-file.ts";
import { describe } from "../identities.ts";
import { readInput } from "../prompts/standard-input.ts";

/** The blobs of what the agent says that it has removed. */
type Gone = Buffer[];

/** What came of one operand. */
interface Outcome {
  readonly path: string;
  /** The plain key whose certificates all go, where the operand is for one. */
  readonly keyBlob: Buffer | undefined;
  removed: boolean;
}

/** Removes the identities of the files that were named, or of the default ones. */
export async function removeFiles(context: Context): Promise<number> {
  const { operands } = context.options;
  const paths = operands.length > 0 ? operands : defaultFiles(context.env).filter(existsSync);
  const gone: Gone = [];
  const outcomes: Outcome[] = [];
  for (const path of paths) {
    const remove = path === "-" ? removeListed(context, gone) : removeFile(context, path, gone);
    outcomes.push(await remove);
  }
  const coversKeys = outcomes.some(({ keyBlob }) => keyBlob !== undefined);
  if (gone.length > 0 || coversKeys) await lookAfterwards(context, outcomes, gone);
  return outcomes.length > 0 && outcomes.every(({ removed }) => removed) ? 0 : 1;
}

/**
 * Lists once what the agent has now: certificates of keys that were named, beyond those in files, are
 * removed too; and what it should have removed already is told of.
 */
async function lookAfterwards(
  context: Context,
  outcomes: readonly Outcome[],
  gone: readonly Buffer[],
): Promise<void> {
  const listed = await listAfterwards(context.client);
  const isGone = ({ keyBlob }: Identity) => gone.some((blob) => blob.equals(keyBlob));
  for (const identity of listed) {
    const certified = isGone(identity) ? undefined : describe(identity.keyBlob);
    if (certified?.certificate === undefined) continue;
    const outcome = outcomes.find(({ keyBlob }) => keyBlob?.equals(certified.keyBlob));
    if (outcome === undefined) continue;
    const name = `${outcome.path} (${certified.certificate.keyId})`;
    if (await removeCertificate(context, identity.keyBlob, name)) outcome.removed = true;
  }
  tellStillListed(context.client, context.console, "notRemoved", listed.filter(isGone));
}

/** Removes the public keys on standard input, one a line. */
async function removeListed(context: Context, gone: Gone): Promise<Outcome> {
  let removed = false;
  const lines = decodeText(allOfInput()).split("\n");
  for (const [index, line] of lines.entries()) {
    if (/^[ \t]*(#|$)/.test(line)) continue;
    const key = parsePublicKeyLine(line);
    if (key === undefined) context.console.log(`(stdin):${index + 1}: invalid key: invalid format`);
    else if (await removeOne(context, key, "(stdin)", gone)) removed = true;
  }
  return { path: "(stdin)", keyBlob: undefined, removed };
}

/** What cannot be read names no keys, as in OpenSSH. */
function allOfInput(): Buffer {
  try {
    return readInput();
  } catch {
    return Buffer.alloc(0);
  }
}

/** Removes a file's key and the certificate that stands beside it. */
async function removeFile(context: Context, path: string, gone: Gone): Promise<Outcome> {
  const { console, options } = context;
  let key: PublicKeyLine;
  try {
    key = loadPublicKey(path);
  } catch (error) {
    if (!(error instanceof PublicKeyFileError)) throw error;
    console.print(`Bad key file ${path}: ${error.message}`);
    return { path, keyBlob: undefined, removed: false };
  }
  let removed = false;
  if (!options.certificatesOnly || isCertificate(key))
    removed = await removeOne(context, key, path, gone);
  const coversCertificates = !options.keysOnly && !isCertificate(key);
  const outcome = { path, keyBlob: coversCertificates ? key.blob : undefined };
  if (options.keysOnly) return { ...outcome, removed };
  const certificatePath = `${path}-cert.pub`;
  const certificate = certificateBeside(certificatePath);
  if (certificate === undefined) return { ...outcome, removed };
  if (!samePublicKey(certificate, key)) {
    throw fatal(`Certificate ${certificatePath} does not match private key ${path}`);
  }
  if (await removeOne(context, certificate, certificatePath, gone)) removed = true;
  return { ...outcome, removed };
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

/** @param name the file of the key, and the certificate's key ID */
async function removeCertificate(context: Context, blob: Buffer, name: string): Promise<boolean> {
  const { client, console, options } = context;
  try {
    await client.removeIdentity(blob);
  } catch (error) {
    console.note(`Could not remove certificate ${name}: ${refusalText(error)}`);
    await explainRefusal(client, console, error);
    return false;
  }
  if (!options.quiet) console.note(`Certificate removed: ${name}`);
  return true;
}

function isCertificate({ blob }: PublicKeyLine): boolean {
  return parseKeyOrCertificate(blob)?.certificate !== undefined;
}

function samePublicKey(one: PublicKeyLine, other: PublicKeyLine): boolean {
  const [first, second] = [parseKeyOrCertificate(one.blob), parseKeyOrCertificate(other.blob)];
  return first !== undefined && second !== undefined && first.keyBlob.equals(second.keyBlob);
}
