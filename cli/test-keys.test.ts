/** `ssh-add -T`, with agents that sign with another hash, or not at all. */
import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { signatureFlags } from "../protocol/numbers.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { encodeSignature, type SignatureAlgorithm } from "../protocol/signature.ts";
import { webauthnSignature } from "../protocol/test-webauthn.ts";
import { makeKey, runOurs, startRecorder } from "./test-agent.ts";

const hashes = { "ssh-rsa": "sha1", "rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512" } as const;
type Rsa = keyof typeof hashes & SignatureAlgorithm;

const { rsaSha256, rsaSha512 } = signatureFlags;

/** Tests an RSA key with an agent that answers by flags; "malformed" is no signature. @returns the result, and the flags asked for */
async function testWith(t: ExecutionContext, answers: Readonly<Record<number, Rsa | "malformed">>) {
  const workspace = makeWorkspace(t);
  const file = await makeKey(workspace, "rsa", { type: "rsa", more: ["-m", "PEM"] });
  const key = createPrivateKey(readFileSync(file));
  const asked: number[] = [];
  await startRecorder(t, workspace, async (bytes): Promise<Reply> => {
    const request = decodeRequest(bytes);
    if (request.type !== "sign") return { type: "failure" };
    asked.push(request.flags);
    const algorithm = answers[request.flags];
    if (algorithm === undefined) return { type: "failure" };
    if (algorithm === "malformed") return { type: "signature", signature: Buffer.alloc(2) };
    const raw = sign(hashes[algorithm], request.data, key);
    return { type: "signature", signature: encodeSignature(algorithm, raw) };
  });
  const { status, stdout, stderr } = await runOurs(workspace, ["-T", `${file}.pub`]);
  return { status, said: stdout + stderr, asked };
}

test("a key is tested with the algorithm that ssh uses first, and nothing is said", async (t) => {
  const result = await testWith(t, { [rsaSha512]: "rsa-sha2-512", [rsaSha256]: "rsa-sha2-256" });
  t.deepEqual(result, { status: 0, said: "", asked: [rsaSha512] });
});

test("an agent that refuses it is asked for SHA-256, and what works is told", async (t) => {
  for (const answers of [{}, { [rsaSha512]: "ssh-rsa" }] as const) {
    const result = await testWith(t, { ...answers, [rsaSha256]: "rsa-sha2-256" });
    t.deepEqual(result.asked, [rsaSha512, rsaSha256]);
    t.is(result.status, 0);
    t.regex(
      result.said,
      /signs with rsa-sha2-256 and not with rsa-sha2-512, which ssh prefers\.\n/,
    );
    t.regex(result.said, /hint: .*: PubkeyAcceptedAlgorithms -rsa-sha2-512\*\n$/);
  }
});

test("an agent that signs with SHA-1 only fails, as with ssh", async (t) => {
  const both = await testWith(t, { [rsaSha512]: "ssh-rsa", [rsaSha256]: "ssh-rsa" });
  t.is(both.status, 1);
  t.regex(both.said, /^Signature verification failed for .*: incorrect signature\r\n$/);
  const malformed = await testWith(t, { [rsaSha512]: "malformed", [rsaSha256]: "malformed" });
  t.regex(malformed.said, /: incorrect signature\r\n$/);
  const neither = await testWith(t, {});
  t.is(neither.status, 1);
  t.regex(neither.said, /^Agent signature failed for .*: agent refused operation\r\n$/);
});

test("an agent may sign by a web browser, for an ECDSA key on an authenticator", async (t) => {
  const workspace = makeWorkspace(t);
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const point = publicKey.export({ format: "der", type: "spki" }).subarray(-65);
  const application = "example.org";
  const blob = encodePublicKey({ type: "sk-ecdsa", curve: "nistp256", point, application });
  const line = `sk-ecdsa-sha2-nistp256@openssh.com ${blob.toString("base64")}\n`;
  const file = workspace.write("web.pub", line);
  await startRecorder(t, workspace, (bytes): Reply => {
    const request = decodeRequest(bytes);
    if (request.type !== "sign") return { type: "failure" };
    const signature = webauthnSignature(privateKey, application, request.data);
    return { type: "signature", signature };
  });
  t.like(await runOurs(workspace, ["-T", file]), { stdout: "", stderr: "", status: 0 });
});
