/**
 * Keys on FIDO authenticators, signing through OpenSSH's ssh-sk-helper with the software
 * authenticator of OpenSSH's own tests; stand-ins for the helper cover what it cannot do.
 */
import { chmodSync, copyFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { skDummy } from "../../fixtures/system-programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { AgentClient } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import type { PrivateKey } from "../../protocol/private-key.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { Writer } from "../../protocol/wire.ts";
import { makeCa, refused, startAgent, type TestAgentOptions } from "../test-agent.ts";
import { skHelper } from "./helper.ts";
import { makeSkKey, standIn } from "./test-authenticator.ts";

const dummy: Constraint = { type: "sk-provider", provider: skDummy() };
const file = signedFile();

/** The data that `ssh-keygen -Y sign` has an agent sign. */
function signedFile(): Buffer {
  const fields = new Writer().text("file").text("").text("sha512").string(Buffer.alloc(64));
  return Buffer.concat([Buffer.from("SSHSIG"), fields.finish()]);
}

/** A helper's reply with an error code of OpenSSH. */
function failing(t: ExecutionContext, code: number) {
  return standIn(
    t,
    `cat >/dev/null; printf '\\0\\0\\0\\11\\5\\0\\0\\0\\0\\0\\0\\0\\${code.toString(8)}'`,
  );
}

async function connected(t: ExecutionContext, options: TestAgentOptions, key: PrivateKey) {
  const { connect } = await startAgent(t, options);
  const client = await connect();
  await client.addIdentity(key, "on an authenticator", [dummy]);
  return client;
}

async function reasonOf(t: ExecutionContext, client: AgentClient, attempt: Promise<unknown>) {
  await t.throwsAsync(attempt, refused);
  return client.failureReason();
}

for (const type of ["ecdsa-sk", "ed25519-sk"]) {
  test(`a key of type ${type} and its certificates sign`, async (t) => {
    const key = await makeSkKey(t, type);
    const client = await connected(t, {}, key);
    const ca = makeCa();
    const certificate = ca.certify(key.publicKey, { serial: 1n });
    await client.addIdentity({ ...key, certificate }, "certified", [dummy]);
    const attached = ca.certify(key.publicKey, { serial: 2n });
    await client.addCertificate({
      certificate: attached,
      comment: "",
      replace: false,
      constraints: [],
    });
    t.is((await client.identities()).length, 3);
    for (const blob of [encodePublicKey(key.publicKey), certificate, attached]) {
      const signature = await client.sign(blob, Buffer.from("data"), 0);
      t.true(verifySignature(key.publicKey, signature, Buffer.from("data")));
    }
  });
}

test("a notice with the purpose asks for a touch only if the key needs one", async (t) => {
  const notices: string[] = [];
  const notify = (text: string, taken: AbortSignal) => {
    notices.push(text);
    return new Promise<void>((resolve) => {
      taken.addEventListener("abort", () => resolve(void notices.push("done")));
    });
  };
  for (const options of [[], ["no-touch-required"]]) {
    notices.length = 0;
    const key = await makeSkKey(t, "ed25519-sk", ...options);
    const client = await connected(t, { prompter: { notify } }, key);
    await client.sign(encodePublicKey(key.publicKey), Buffer.from("data"), 0);
    if (options.length > 0) t.deepEqual(notices, []);
    else t.regex(notices.join("\n"), /^Confirm user presence for key ED25519-SK SHA256:\S+\ndone$/);
  }
});

test("a key for a web site signs only logins and files unless allowed", async (t) => {
  const key = await makeSkKey(t, "ed25519-sk");
  if (key.publicKey.type !== "sk-ed25519") return t.fail();
  // ssh-keygen cannot make such a key.
  const site = { ...key, publicKey: { ...key.publicKey, application: "example.org" } };
  const blob = encodePublicKey(site.publicKey);
  const challenge = Buffer.from("challenge");
  const login = new Writer().text("session").byte(50).text("alice").text("ssh-connection");
  login.text("publickey").bool(true).text("sk-ssh-ed25519@openssh.com").string(blob);
  const client = await connected(t, {}, site);
  await t.notThrowsAsync(client.sign(blob, file, 0));
  await t.notThrowsAsync(client.sign(blob, login.finish(), 0));
  for (const data of [challenge, file.subarray(1), file.subarray(0, -1)]) {
    const reason = await reasonOf(t, client, client.sign(blob, data, 0));
    t.is(reason?.code, "unsupported");
    t.regex(reason?.sentence ?? "", /example\.org/);
  }
  for (const websafeAllow of [undefined, "ssh:*,example.*"]) {
    const other = await connected(t, { settings: { websafeAllow } }, site);
    await t.notThrowsAsync(other.sign(blob, challenge, 0));
  }
});

test("the library of a key must be allowed, and be a FIDO library", async (t) => {
  const key = await makeSkKey(t, "ed25519-sk");
  const client = await (await startAgent(t)).connect();
  const missing = client.addIdentity(key, "", [{ type: "sk-provider", provider: "/no/such.so" }]);
  t.is((await reasonOf(t, client, missing))?.code, "no-such-file");
  const { publicKey } = key;
  for (const provider of ["internal", process.execPath]) {
    await client.addIdentity(key, "", [{ type: "sk-provider", provider }]);
    const signing = client.sign(encodePublicKey(publicKey), Buffer.from("data"), 0);
    t.regex((await reasonOf(t, client, signing))?.code ?? "", /^(no-token|unsupported)$/);
  }
});

test("each signature checks that only root and this user may write the library", async (t) => {
  const workspace = makeWorkspace(t);
  const key = await makeSkKey(t, "ed25519-sk");
  const client = await (await startAgent(t)).connect();
  const provider = workspace.path("dummy.so");
  copyFileSync(skDummy(), provider);
  const add = () => client.addIdentity(key, "", [{ type: "sk-provider", provider }]);
  const sign = () => client.sign(encodePublicKey(key.publicKey), Buffer.from("data"), 0);
  chmodSync(provider, 0o666);
  const sentence = `Others may write to the library ${provider}.`;
  t.is((await reasonOf(t, client, add()))?.sentence, sentence);
  chmodSync(provider, 0o644);
  await add();
  await t.notThrowsAsync(sign());
  chmodSync(provider, 0o666);
  t.is((await reasonOf(t, client, sign()))?.sentence, sentence);
});

test("an authenticator that needs its PIN causes one prompt", async (t) => {
  const key = await makeSkKey(t, "ed25519-sk");
  const blob = encodePublicKey(key.publicKey);
  const questions: string[] = [];
  const pins: Buffer[] = [];
  const askPin = async (question: string) => {
    questions.push(question);
    return pins.shift();
  };
  const authenticators = { askHelper: failing(t, 43) };
  const client = await connected(t, { authenticators, prompter: { askPin } }, key);
  const sign = () => client.sign(blob, Buffer.from("data"), 0);
  t.is((await reasonOf(t, client, sign()))?.code, "pin-required");
  const pin = Buffer.from("1234");
  pins.push(pin);
  t.is((await reasonOf(t, client, sign()))?.code, "pin-incorrect");
  t.deepEqual(pin, Buffer.alloc(4));
  t.is(questions.length, 2);
  t.regex(questions[0] ?? "", /^Enter PIN and confirm user presence for ED25519-SK SHA256:\S+: $/);
});

test("each fault of the helper has a reason", async (t) => {
  const key = await makeSkKey(t, "ed25519-sk");
  const blob = encodePublicKey(key.publicKey);
  const environment = { SSH_SK_HELPER: "/no/such/helper" };
  const cases = [
    [failing(t, 60), "no-token"],
    [failing(t, 46), "key-not-found"],
    [failing(t, 59), "unsupported"],
    [failing(t, 4), "unsupported"],
    [standIn(t, "exit 3"), "module-crashed"],
    [standIn(t, "kill -9 $$"), "module-crashed"],
    [standIn(t, "printf '\\0\\0\\0\\0'; exec sleep 60"), "module-crashed"],
    [standIn(t, "cat >/dev/null; printf '\\0\\0\\0\\1\\6'"), "unsupported"],
    [standIn(t, "exec sleep 60"), "module-timeout"],
    [skHelper({ environment, limit: 2000, showMessages: false }), "unsupported"],
  ] as const;
  for (const [askHelper, code] of cases) {
    const client = await connected(t, { authenticators: { askHelper } }, key);
    const reason = await reasonOf(t, client, client.sign(blob, Buffer.from("data"), 0));
    t.is(reason?.code, code, reason?.sentence);
  }
});

test("concurrent signatures are made one after another", async (t) => {
  const key = await makeSkKey(t, "ed25519-sk");
  const client = await connected(t, {}, key);
  const data = [0, 1, 2].map((number) => Buffer.from(`data ${number}`));
  const blob = encodePublicKey(key.publicKey);
  const signatures = await Promise.all(data.map((bytes) => client.sign(blob, bytes, 0)));
  for (const [at, signature] of signatures.entries()) {
    t.true(verifySignature(key.publicKey, signature, data[at] ?? Buffer.alloc(0)));
  }
});

test("a forwarded connection may not name the library of a key, unless it may", async (t) => {
  const key = await makeSkKey(t, "ed25519-sk");
  for (const allowRemotePkcs11 of [false, true]) {
    const client = await (await startAgent(t, { settings: { allowRemotePkcs11 } })).connect();
    const host = makeCa();
    const sessionId = Buffer.from("session");
    const signature = host.sign(sessionId);
    await client.bindSession({ hostKey: host.keyBlob, sessionId, signature, isForwarding: true });
    await client.addIdentity(key, "", [{ type: "sk-provider", provider: "internal" }]);
    const naming = client.addIdentity(key, "", [dummy]);
    if (allowRemotePkcs11) await t.notThrowsAsync(naming);
    else t.is((await reasonOf(t, client, naming))?.code, "remote-refused");
  }
});

test("a provider is only for keys on authenticators", async (t) => {
  const { generateKey } = await import("../test-agent.ts");
  const client = await (await startAgent(t)).connect();
  const adding = client.addIdentity(generateKey("ed25519"), "", [dummy]);
  t.is((await reasonOf(t, client, adding))?.code, "unsupported");
});
