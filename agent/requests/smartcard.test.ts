import test, { type ExecutionContext } from "ava";
import { keysOf, makeToken, type Token, type TokenKeyType } from "../../fixtures/softhsm.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { AgentClient } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { decodePublicKey, type PublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import {
  generateKey,
  makeCa,
  refused,
  startAgent,
  type TestAgent,
  type TestAgentOptions,
  TestClock,
} from "../test-agent.ts";

interface WithCard {
  readonly token: Token;
  readonly agent: TestAgent;
  readonly client: AgentClient;
  /** Loads the card. */
  load(constraints?: readonly Constraint[]): Promise<void>;
}

/** An agent, and a token that is not loaded yet. */
async function withCard(
  t: ExecutionContext,
  types: TokenKeyType[] = ["p256", "ed25519"],
  options: TestAgentOptions = {},
): Promise<WithCard> {
  const token = await makeToken(makeWorkspace(t), { keys: keysOf(types) });
  const agent = await startAgent(t, { ...options, cardEnvironment: token.env });
  const client = await agent.connect();
  const load = (constraints: readonly Constraint[] = []) =>
    client.addSmartcardKey(token.library, Buffer.from(token.pin), constraints);
  return { token, agent, client, load };
}

/** Sorted comments: SoftHSM has no order of its own. */
async function comments(client: AgentClient): Promise<string[]> {
  return (await client.identities()).map(({ comment }) => comment).sort();
}

async function publicKeyOf(client: AgentClient, comment: string): Promise<PublicKey> {
  for (const identity of await client.identities()) {
    const key = decodePublicKey(identity.keyBlob);
    if (identity.comment === comment && key !== undefined) return key;
  }
  throw new Error(`no key ${comment}`);
}

test("a card's keys are listed and sign, until the card is removed", async (t) => {
  const { token, client, load } = await withCard(t);
  await load();
  t.deepEqual(await comments(client), ["ed25519 key", "p256 key"]);
  const data = Buffer.from("data");
  for (const { keyBlob } of await client.identities()) {
    const key = decodePublicKey(keyBlob);
    const signature = await client.sign(keyBlob, data);
    t.true(key !== undefined && verifySignature(key, signature, data));
  }
  const [provider] = await client.listProviders();
  t.is(provider?.requested, token.library);
  t.is(provider?.state, "ready");
  t.is(provider?.tokens[0]?.label, token.label);
  t.is(provider?.identities.length, 2);
  await client.removeSmartcardKey(token.library);
  t.deepEqual(await client.identities(), []);
  t.deepEqual(await client.listProviders(), []);
  await t.throwsAsync(client.removeSmartcardKey(token.library), refused);
  t.is((await client.failureReason())?.code, "not-loaded");
});

test("removing all identities unloads the card, and it loads again at once", async (t) => {
  const { client, load } = await withCard(t);
  for (let round = 0; round < 2; round++) {
    await load();
    await client.removeAllIdentities();
    t.deepEqual(await client.identities(), []);
    t.deepEqual(await client.listProviders(), []);
  }
  await load();
  t.is((await client.identities()).length, 2);
});

test("loading a card twice succeeds, and a wrong PIN then changes nothing", async (t) => {
  const { token, client, load } = await withCard(t);
  await load();
  await load([{ type: "confirm" }]);
  t.is((await client.identities()).length, 2);
  await t.throwsAsync(client.addSmartcardKey(token.library, Buffer.from("0000")), refused);
  t.is((await client.failureReason())?.code, "pin-incorrect");
  t.is((await client.identities()).length, 2);
});

test("certificates that come with a card stand before their keys, and sign", async (t) => {
  const { client, load } = await withCard(t);
  await load();
  const key = await publicKeyOf(client, "p256 key");
  const certificate = makeCa().certify(key);
  const stranger = makeCa().certify(generateKey("ed25519").publicKey);
  const expired = makeCa().certify(key, { validBefore: 5n });
  const certificates = [certificate, stranger, expired];
  await client.removeAllIdentities();
  await load([{ type: "associated-certs", certsOnly: false, certificates }]);
  const listed = await client.identities();
  t.is(listed.length, 3);
  const at = listed.findIndex(({ keyBlob }) => keyBlob.equals(certificate));
  t.deepEqual(
    listed.slice(at, at + 2).map(({ comment }) => comment),
    ["p256 key", "p256 key"],
  );
  const data = Buffer.from("data");
  t.true(verifySignature(key, await client.sign(certificate, data), data));
});

test("with -C only certificates are added, and it fails without any", async (t) => {
  const { client, load } = await withCard(t);
  await load();
  const certificate = makeCa().certify(await publicKeyOf(client, "p256 key"));
  await client.removeAllIdentities();
  const only = (certificates: Buffer[]): Constraint[] => [
    { type: "associated-certs", certsOnly: true, certificates },
  ];
  await load(only([certificate]));
  t.deepEqual(
    (await client.identities()).map(({ keyBlob }) => keyBlob),
    [certificate],
  );
  await client.removeAllIdentities();
  const stranger = makeCa().certify(generateKey("ed25519").publicKey);
  await t.throwsAsync(load(only([stranger])), refused);
  t.is((await client.failureReason())?.code, "no-matching-key");
  t.deepEqual(await client.listProviders(), []);
  await t.throwsAsync(load(only([Buffer.from("no certificate")])), refused);
  t.is((await client.failureReason())?.code, "malformed");
});

test("a certificate attached later needs no PIN, and stays when the card is reloaded", async (t) => {
  const { client, load } = await withCard(t);
  await load();
  const key = await publicKeyOf(client, "p256 key");
  const ca = makeCa();
  const attach = (certificate: Buffer) =>
    client.addCertificate({ certificate, comment: "", replace: true, constraints: [] });
  await attach(ca.certify(key, { serial: 1n }));
  const renewed = ca.certify(key, { serial: 2n });
  await attach(renewed);
  t.deepEqual(await comments(client), ["ed25519 key", "p256 key", "p256 key"]);
  t.is((await client.listProviders())[0]?.identities.length, 3);
  await load();
  t.deepEqual(await comments(client), ["ed25519 key", "p256 key", "p256 key"]);
  const data = Buffer.from("data");
  t.true(verifySignature(key, await client.sign(renewed, data), data));
});

test("removing the last identity unloads the provider", async (t) => {
  const clock = new TestClock();
  const { client, load } = await withCard(t, ["p256"], { clock });
  await load();
  const blob = (await client.identities())[0]?.keyBlob ?? Buffer.alloc(0);
  await client.removeIdentity(blob);
  t.deepEqual(await client.listProviders(), []);
  await load([{ type: "lifetime", seconds: 30 }]);
  t.is((await client.listProviders()).length, 1);
  clock.pass(30_000);
  t.deepEqual(await client.identities(), []);
  t.deepEqual(await client.listProviders(), []);
});

test("removing all providers keeps the keys in memory", async (t) => {
  const { client, load } = await withCard(t);
  await client.addIdentity(generateKey("ed25519"), "in memory");
  await load();
  await client.removeAllProviders();
  t.deepEqual(await comments(client), ["in memory"]);
  t.deepEqual(await client.listProviders(), []);
});

test("a forwarded connection neither loads nor lists providers, unless it may", async (t) => {
  for (const allowRemotePkcs11 of [false, true]) {
    const { client, load } = await withCard(t, ["p256"], { settings: { allowRemotePkcs11 } });
    const host = makeCa();
    const sessionId = Buffer.from("session");
    const signature = host.sign(sessionId);
    const hostKey = host.keyBlob;
    await client.bindSession({ hostKey, sessionId, signature, isForwarding: true });
    if (allowRemotePkcs11) {
      await t.notThrowsAsync(load());
      await t.notThrowsAsync(client.listProviders());
      continue;
    }
    for (const attempt of [() => load(), () => client.listProviders()]) {
      await t.throwsAsync(attempt(), refused);
      t.is((await client.failureReason())?.code, "remote-refused");
    }
  }
});

test("an unsupported constraint refuses the card before its PIN is used", async (t) => {
  const { client, load } = await withCard(t);
  await t.throwsAsync(load([{ type: "sk-provider", provider: "/usr/lib/sk.so" }]), refused);
  t.is((await client.failureReason())?.code, "unsupported");
  t.deepEqual(await client.listProviders(), []);
});

test("the PIN is in no log line and no failure reason", async (t) => {
  const { agent, client, token, load } = await withCard(t);
  await load();
  await t.throwsAsync(client.addSmartcardKey(token.library, Buffer.from("9876543")), refused);
  const { sentence = "", hint = "" } = (await client.failureReason()) ?? {};
  const told = [...agent.log, sentence, hint].join("\n");
  t.regex(told, /pin-incorrect/);
  t.false(told.includes(token.pin) || told.includes("9876543"));
});
