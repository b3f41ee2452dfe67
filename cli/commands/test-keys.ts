/** `ssh-add -T`: tests whether the agent can sign with keys. */
import { randomBytes } from "node:crypto";
import { fatal } from "../../openssh/exit.ts";
import type { PublicKeyLine } from "../../openssh/public-key-line.ts";
import { parseKeyOrCertificate } from "../../protocol/certificate.ts";
import { AgentRefusal } from "../../protocol/client.ts";
import { signatureFlags } from "../../protocol/numbers.ts";
import { algorithmName, blobAlgorithm, type PublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { explain, explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { loadPublicKey } from "../files/public-key-file.ts";
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

/** A signature to ask for: the flags of the request, and the algorithm that they select. */
interface Test {
  readonly flags: number;
  readonly algorithm: string;
}

/** The result of one test. */
type Outcome =
  | { readonly type: "valid" }
  | { readonly type: "invalid" }
  | { readonly type: "refused"; readonly error: unknown };

async function testKey(context: Context, path: string): Promise<boolean> {
  const { client, console, debug } = context;
  let line: PublicKeyLine;
  try {
    line = loadPublicKey(path);
  } catch (error) {
    console.log(`Couldn't read public key ${path}: ${error instanceof Error ? error.message : ""}`);
    return false;
  }
  const key = parseKeyOrCertificate(line.blob)?.key;
  const [usual, other] = testsOf(key);
  let test = usual;
  let outcome = await runTest(context, line.blob, key, test);
  if (other !== undefined && (await mayBeItsHash(context, outcome))) {
    test = other;
    outcome = await runTest(context, line.blob, key, test);
  }
  switch (outcome.type) {
    case "valid":
      debug(1, `${path} signs with ${test.algorithm}`);
      if (test !== usual) explainOtherHash(context, path, usual, test);
      return true;
    case "invalid":
      console.log(`Signature verification failed for ${path}: incorrect signature`);
      return false;
    case "refused":
      console.log(`Agent signature failed for ${path}: ${refusalText(outcome.error)}`);
      await explainRefusal(client, console, outcome.error);
      return false;
  }
}

/** The tests of a key: the algorithm that ssh uses first, then a second one for RSA. */
function testsOf(key: PublicKey | undefined): [Test, Test?] {
  if (key?.type !== "rsa") return [{ flags: 0, algorithm: key ? algorithmName(key) : "" }];
  const { rsaSha512, rsaSha256 } = signatureFlags;
  return [
    { flags: rsaSha512, algorithm: "rsa-sha2-512" },
    { flags: rsaSha256, algorithm: "rsa-sha2-256" },
  ];
}

async function runTest(
  { client, console }: Context,
  blob: Buffer,
  key: PublicKey | undefined,
  { flags, algorithm }: Test,
): Promise<Outcome> {
  const data = randomBytes(1024);
  const spinner = new Spinner(console, "Waiting for the signature; touch your card if it blinks…");
  try {
    const signature = await client.sign(blob, data, flags);
    const isValid =
      key !== undefined &&
      verifySignature(key, signature, data) &&
      (key.type !== "rsa" || blobAlgorithm(signature) === algorithm);
    return { type: isValid ? "valid" : "invalid" };
  } catch (error) {
    return { type: "refused", error };
  } finally {
    spinner.end();
  }
}

/** Whether another hash may do: not if the agent gave another reason. */
async function mayBeItsHash({ client }: Context, outcome: Outcome): Promise<boolean> {
  if (outcome.type !== "refused") return outcome.type === "invalid";
  if (!(outcome.error instanceof AgentRefusal)) return false;
  const reason = await client.failureReason().catch(() => undefined);
  return reason === undefined || reason.code === "unsupported";
}

function explainOtherHash({ console }: Context, path: string, usual: Test, test: Test): void {
  const reason = `${path} signs with ${test.algorithm} and not with ${usual.algorithm}, which ssh prefers.`;
  const hint = `Put this into ~/.ssh/config: PubkeyAcceptedAlgorithms -${usual.algorithm}*`;
  explain(console, reason, hint);
}
