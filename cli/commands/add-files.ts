/** `ssh-add [file …]`: adds private keys from files, each with the certificate beside it. */
import { closeSync, existsSync, fstatSync, openSync } from "node:fs";
import { AgentRefusal } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { type PrivateKey, wipePrivateKey } from "../../protocol/private-key.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { explain, explainOldClients, explainRefusal, knownAgent, refusalText } from "../agent.ts";
import { type Console, errorText } from "../console.ts";
import { constraintsFor, describeLimits, keepEndedConstraint, skProvider } from "../constraints.ts";
import type { Context } from "../context.ts";
import {
  type CertificateFile,
  certificateLifetime,
  readCertificateFile,
  shorterLifetime,
} from "../files/certificate-file.ts";
import { defaultFiles } from "../files/default-files.ts";
import { isPublicFile } from "../files/foreign-file.ts";
import { KeyFileError, type LoadedKey } from "../files/loaded-key.ts";
import { PublicKeyFileError } from "../files/public-key-file.ts";
import { readInput } from "../prompts/standard-input.ts";
import { KeyUnlocker } from "../unlock-key.ts";

/** Adds the named files, or the default files that exist. */
export async function addFiles(context: Context): Promise<number> {
  const { operands } = context.options;
  const paths = operands.length > 0 ? operands : defaultFiles(context.env).filter(existsSync);
  const unlocker = new KeyUnlocker(context);
  // An invalid destination ends the program before any file is read.
  await constraintsFor(context, 0);
  let added = 0;
  try {
    for (const path of paths) if (await addFile(context, unlocker, path)) added++;
  } finally {
    unlocker.forget();
  }
  if (added > 0) warnIfUnconstrained(context);
  return added > 0 && added === paths.length ? 0 : 1;
}

/** Some agents accept destination constraints and ignore them. */
function warnIfUnconstrained({ client, console, options }: Context): void {
  if (options.destinations.length === 0) return;
  const known = knownAgent(client.path)?.destinations;
  if (known !== undefined) explain(console, known.reason, known.hint);
}

async function addFile(context: Context, unlocker: KeyUnlocker, path: string): Promise<boolean> {
  const file = readKeyFile(context, path);
  if (file === undefined) return false;
  const name = path === "-" ? "(stdin)" : path;
  let loaded: LoadedKey | undefined;
  try {
    loaded = await unlocker.read(file, name);
  } catch (error) {
    if (!(error instanceof KeyFileError)) throw error;
    context.console.note(`Error loading key "${name}": ${error.message}`);
    explain(context.console, error.explanation, "");
  } finally {
    file.fill(0);
  }
  if (loaded === undefined) return false;
  try {
    return await addKey(context, name, loaded);
  } finally {
    wipePrivateKey(loaded.key);
  }
}

/** @returns undefined after reporting a file that is unreadable or readable by others */
function readKeyFile({ console }: Context, path: string): Buffer | undefined {
  if (path === "-") return readKeyFromInput(console);
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    // Like perror(3), which leaves out an empty name.
    console.note(`${path === "" ? "" : `${path}: `}${errorText(error)}`);
    return undefined;
  }
  try {
    const file = readInput(descriptor);
    // A public key may be readable by others; a later error says what the file is.
    if (isPublicFile(file) || isPrivateFile(descriptor, path, console)) return file;
    file.fill(0);
    return undefined;
  } catch (error) {
    if (isPrivateFile(descriptor, path, console)) {
      console.note(`Error loading key "${path}": ${errorText(error)}`);
    }
    return undefined;
  } finally {
    closeSync(descriptor);
  }
}

const box = [
  "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
  "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @",
  "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
];

/** Reports a file of this user that others can access. Like OpenSSH, it trusts files of other users. */
function isPrivateFile(descriptor: number, path: string, console: Console): boolean {
  const { uid, mode } = fstatSync(descriptor);
  if (uid !== process.getuid?.() || (mode & 0o077) === 0) return true;
  const permissions = (mode & 0o777).toString(8).padStart(4, "0");
  const lines = [
    ...box,
    `Permissions ${permissions} for '${path}' are too open.`,
    "It is required that your private key files are NOT accessible by others.",
    "This private key will be ignored.",
  ];
  for (const line of lines) console.log(line);
  return false;
}

function readKeyFromInput(console: Console): Buffer | undefined {
  try {
    return readInput();
  } catch (error) {
    console.note(`Error loading key "(stdin)": ${errorText(error)}`);
    return undefined;
  }
}

/** Adds the key and its certificate, unless -C or -k excludes one. */
async function addKey(context: Context, path: string, loaded: LoadedKey): Promise<boolean> {
  const { certificatesOnly, keysOnly, lifetime } = context.options;
  const comment = loaded.comment === "" ? path : loaded.comment;
  let added = false;
  if (!certificatesOnly) {
    const refusal = await send(context, loaded.key, comment, lifetime);
    if (refusal === undefined) {
      added = true;
      reportAdded(context, `Identity added: ${path} (${comment})`, lifetime);
    } else {
      context.console.note(`Could not add identity "${path}": ${refusalText(refusal)}`);
      const isExplained = await explainRefusal(context.client, context.console, refusal);
      if (!isExplained) explainUnknownType(context.console, loaded.key, refusal);
    }
  }
  if (keysOnly) return added;
  return (await addCertificate(context, path, loaded.key, comment)) || added;
}

/** The most likely cause of a refusal by an agent that reports no reason. */
function explainUnknownType(console: Console, { publicKey }: PrivateKey, error: unknown): void {
  if (publicKey.type !== "mldsa44-ed25519" || !(error instanceof AgentRefusal)) return;
  const hint =
    "Post-quantum keys need an agent that knows them: cardagent, or OpenSSH 10.4 and newer.";
  explain(console, "", hint);
}

async function addCertificate(
  context: Context,
  keyPath: string,
  key: PrivateKey,
  comment: string,
): Promise<boolean> {
  const { console, options } = context;
  const file = certificateBeside(context, keyPath);
  if (file === undefined) return false;
  const { path, blob, certificate } = file;
  if (!encodePublicKey(certificate.key).equals(encodePublicKey(key.publicKey))) {
    console.log(`Certificate ${path} does not match private key ${keyPath}`);
    return false;
  }
  const untilExpiry = certificateLifetime(certificate, context.now());
  if (untilExpiry === undefined && !options.ignoresExpiry) {
    console.log(`Certificate ${path} has already expired; ignored`);
    return false;
  }
  const known = knownAgent(context.client.path)?.certificates;
  if (known !== undefined) {
    console.log(`Certificate ${path} (${certificate.keyId}) was not added`);
    explain(console, known.reason, known.hint);
    return false;
  }
  const lifetime = shorterLifetime(
    options.lifetime,
    options.ignoresExpiry ? 0 : (untilExpiry ?? 0),
  );
  const refusal = await send(context, { ...key, certificate: blob }, comment, lifetime);
  if (refusal === undefined) {
    reportAdded(context, `Certificate added: ${path} (${certificate.keyId})`, lifetime);
    if (!options.quiet) explainOldClients(console, certificate);
    return true;
  }
  const { keyId } = certificate;
  console.log(`Certificate ${path} (${keyId}) add failed: ${refusalText(refusal)}`);
  await explainRefusal(context.client, console, refusal);
  return false;
}

/** The certificate beside a key file. Reports an invalid one. */
function certificateBeside({ console }: Context, keyPath: string): CertificateFile | undefined {
  const path = `${keyPath}-cert.pub`;
  try {
    return readCertificateFile(path);
  } catch (error) {
    if (!(error instanceof PublicKeyFileError)) throw error;
    if (!error.isMissing) console.log(`Failed to load certificate "${path}": ${error.message}`);
    return undefined;
  }
}

/** @returns the error when the agent refuses */
async function send(context: Context, key: PrivateKey, comment: string, lifetime: number) {
  const constraints: Constraint[] = await constraintsFor(context, lifetime);
  if (key.certificate !== undefined) constraints.push(...(await keepEndedConstraint(context)));
  if (key.secret.type.startsWith("sk-")) {
    constraints.push({ type: "sk-provider", provider: skProvider(context) });
  }
  try {
    await context.client.addIdentity(key, comment, constraints);
    return undefined;
  } catch (error) {
    return error;
  }
}

function reportAdded(context: Context, line: string, lifetime: number): void {
  if (context.options.quiet) return;
  context.console.note(line);
  describeLimits(context, lifetime);
}
