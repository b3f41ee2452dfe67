/** `ssh-add -d`: removes identities, named by files or by public keys on standard input. */
import { existsSync } from "node:fs";
import { fatal } from "../../openssh/exit.ts";
import { type PublicKeyLine, parsePublicKeyLine } from "../../openssh/public-key-line.ts";
import { parseKeyOrCertificate } from "../../protocol/certificate.ts";
import type { Identity } from "../../protocol/replies.ts";
import { decodeText } from "../../protocol/text.ts";
import { explainRefusal, identitiesOrNone, refusalText, warnStillListed } from "../agent.ts";
import type { Context } from "../context.ts";
import { defaultFiles } from "../files/default-files.ts";
import { loadPublicKey, PublicKeyFileError, readPublicKeyFile } from "../files/public-key-file.ts";
import { describe } from "../identities.ts";
import { readInput } from "../prompts/standard-input.ts";

/** The result for one operand. */
interface Outcome {
  readonly path: string;
  /** The plain key whose certificates are all removed too. */
  readonly keyBlob: Buffer | undefined;
  removed: boolean;
}

/** Removes the identities of the named files, or of the default files. */
export async function removeFiles(context: Context): Promise<number> {
  const { operands } = context.options;
  const paths = operands.length > 0 ? operands : defaultFiles(context.env).filter(existsSync);
  const removedBlobs: Buffer[] = [];
  const outcomes: Outcome[] = [];
  for (const path of paths) {
    const remove =
      path === "-" ? removeListed(context, removedBlobs) : removeFile(context, path, removedBlobs);
    outcomes.push(await remove);
  }
  const coversKeys = outcomes.some(({ keyBlob }) => keyBlob !== undefined);
  if (removedBlobs.length > 0 || coversKeys) await finishRemoval(context, outcomes, removedBlobs);
  return outcomes.length > 0 && outcomes.every(({ removed }) => removed) ? 0 : 1;
}

/**
 * Lists the agent's identities once, removes the remaining certificates of the named keys, and warns
 * about identities that the agent still lists.
 * @param removedBlobs the blobs that the agent reported as removed
 */
async function finishRemoval(
  context: Context,
  outcomes: readonly Outcome[],
  removedBlobs: readonly Buffer[],
): Promise<void> {
  const listed = await identitiesOrNone(context.client);
  const wasRemoved = ({ keyBlob }: Identity) => removedBlobs.some((blob) => blob.equals(keyBlob));
  for (const identity of listed) {
    const certified = wasRemoved(identity) ? undefined : describe(identity.keyBlob);
    if (certified?.certificate === undefined) continue;
    const outcome = outcomes.find(({ keyBlob }) => keyBlob?.equals(certified.keyBlob));
    if (outcome === undefined) continue;
    const name = `${outcome.path} (${certified.certificate.keyId})`;
    const failed = `Could not remove certificate ${name}`;
    const done = `Certificate removed: ${name}`;
    if (await removeBlob(context, identity.keyBlob, failed, done)) outcome.removed = true;
  }
  const left = listed.filter(wasRemoved);
  await warnStillListed(context.client, context.console, "notRemoved", left);
}

/** Removes the public keys on standard input, one per line. */
async function removeListed(context: Context, removedBlobs: Buffer[]): Promise<Outcome> {
  let removed = false;
  const lines = decodeText(inputOrNothing()).split("\n");
  for (const [index, line] of lines.entries()) {
    if (/^[ \t]*(#|$)/.test(line)) continue;
    const key = parsePublicKeyLine(line);
    if (key === undefined) context.console.log(`(stdin):${index + 1}: invalid key: invalid format`);
    else if (await removeOne(context, key, "(stdin)", removedBlobs)) removed = true;
  }
  return { path: "(stdin)", keyBlob: undefined, removed };
}

/** Standard input; empty if it cannot be read, as in OpenSSH. */
function inputOrNothing(): Buffer {
  try {
    return readInput();
  } catch {
    return Buffer.alloc(0);
  }
}

/** Removes a file's key and the certificate beside it. */
async function removeFile(
  context: Context,
  path: string,
  removedBlobs: Buffer[],
): Promise<Outcome> {
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
    removed = await removeOne(context, key, path, removedBlobs);
  const coversCertificates = !options.keysOnly && !isCertificate(key);
  const outcome = { path, keyBlob: coversCertificates ? key.blob : undefined };
  if (options.keysOnly) return { ...outcome, removed };
  const certificatePath = `${path}-cert.pub`;
  const certificate = certificateBeside(certificatePath);
  if (certificate === undefined) return { ...outcome, removed };
  if (!samePublicKey(certificate, key)) {
    throw fatal(`Certificate ${certificatePath} does not match private key ${path}`);
  }
  if (await removeOne(context, certificate, certificatePath, removedBlobs)) removed = true;
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
  removedBlobs: Buffer[],
): Promise<boolean> {
  const type = describe(key.blob)?.type ?? "";
  const failed = `Could not remove identity "${path}"`;
  const done = `Identity removed: ${path} ${type} (${key.comment})`;
  const isRemoved = await removeBlob(context, key.blob, failed, done);
  if (isRemoved) removedBlobs.push(key.blob);
  return isRemoved;
}

/** @param failed, done the messages for a refusal and for success */
async function removeBlob(context: Context, blob: Buffer, failed: string, done: string) {
  const { client, console, options } = context;
  try {
    await client.removeIdentity(blob);
  } catch (error) {
    console.note(`${failed}: ${refusalText(error)}`);
    await explainRefusal(client, console, error);
    return false;
  }
  if (!options.quiet) console.note(done);
  return true;
}

function isCertificate({ blob }: PublicKeyLine): boolean {
  return parseKeyOrCertificate(blob)?.certificate !== undefined;
}

function samePublicKey(one: PublicKeyLine, other: PublicKeyLine): boolean {
  const [first, second] = [parseKeyOrCertificate(one.blob), parseKeyOrCertificate(other.blob)];
  return first !== undefined && second !== undefined && first.keyBlob.equals(second.keyBlob);
}
