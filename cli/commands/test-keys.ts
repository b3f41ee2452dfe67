/** `ssh-add -T`: tests whether the agent can sign with keys. */
import { randomBytes } from "node:crypto";
import { fatal } from "../../openssh/exit.ts";
import { parseKeyOrCertificate } from "../../protocol/certificate.ts";
import { signatureFlags } from "../../protocol/numbers.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { loadPublicKey, type PublicKeyLine } from "../files/public-key-file.ts";
import { Spinner } from "../spinner.ts";

/** Asks the agent to sign with each key, and verifies the signatures. */
export async function testKeys(context: Context): Promise<number> {
  const { operands } = context.options;
  if (operands.length === 0) throw fatal("no keys to test");
  let status = 0;
  for (const path of operands) {
    if (!(await testKey(context, path))) status = 1;
  }
  return status;
}

async function testKey({ client, console }: Context, path: string): Promise<boolean> {
  let line: PublicKeyLine;
  try {
    line = loadPublicKey(path);
  } catch (error) {
    console.log(`Couldn't read public key ${path}: ${error instanceof Error ? error.message : ""}`);
    return false;
  }
  const key = parseKeyOrCertificate(line.blob)?.key;
  const data = randomBytes(1024);
  const spinner = new Spinner(console, "Waiting for the signature; touch your card if it blinks…");
  try {
    const flags = key?.type === "rsa" ? signatureFlags.rsaSha256 : 0;
    const signature = await client.sign(line.blob, data, flags);
    spinner.end();
    if (key !== undefined && verifySignature(key, signature, data)) return true;
    console.log(`Signature verification failed for ${path}: incorrect signature`);
  } catch (error) {
    spinner.end();
    console.log(`Agent signature failed for ${path}: ${refusalText(error)}`);
    await explainRefusal(client, console, error);
  }
  return false;
}
