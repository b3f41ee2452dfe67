/** Some of a library's keys: chosen when it is loaded, or removed one by one. */
import test, { type ExecutionContext } from "ava";
import { hostilePin, makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { AgentClient } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { fingerprint } from "../../protocol/fingerprint.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { generateKey, makeCa, refused, startAgent } from "../test-agent.ts";
import { blobs, noPin, signs } from "./test-cards.ts";

const pin = () => Buffer.from(hostilePin);

/** A key that no token has. */
const absent = Buffer.from("no key");

function only(...keys: Buffer[]): Constraint {
  return { type: "only-keys", fingerprints: keys.map((key) => fingerprint(key)) };
}

/** An agent, a library that is not loaded, and the blobs of its keys. */
async function prepare(t: ExecutionContext, ...faults: string[]) {
  const module = await makeHostileModule(makeWorkspace(t), ...faults);
  const { agent, connect } = await startAgent(t);
  const client = await connect();
  await client.addSmartcardKey(module.path, noPin);
  const keys = await blobs(client);
  await client.removeAllIdentities();
  return { module, agent, client, keys };
}

/** The reason of a refused request. */
async function whyRefused(t: ExecutionContext, client: AgentClient, request: Promise<void>) {
  await t.throwsAsync(request, refused);
  return client.failureReason();
}

test("only the chosen keys of a library are listed, and sign", async (t) => {
  const { module, agent, client, keys } = await prepare(t, "keys=3");
  const [one, two, three] = keys as [Buffer, Buffer, Buffer];
  await client.addSmartcardKey(module.path, noPin, [only(two)]);
  t.deepEqual(await blobs(client), [two]);
  t.true(await signs(client));
  t.deepEqual((await client.listProviders())[0]?.identities, [two]);
  await t.throwsAsync(client.sign(one, Buffer.from("data")), refused);
  t.is(agent.providers.list()[0]?.keys.length, 1);
  const byMd5 = { type: "only-keys", fingerprints: [fingerprint(three, "md5")] } as const;
  await client.addSmartcardKey(module.path, noPin, [byMd5]);
  t.deepEqual(await blobs(client), [three]); // the last choice counts
  await client.addSmartcardKey(module.path, noPin);
  t.is((await blobs(client)).length, 3);
});

test("keys that the token lacks are ignored, unless all are; then nothing changes", async (t) => {
  const { module, client, keys } = await prepare(t, "keys=2", "no-label");
  const [one, two] = keys as [Buffer, Buffer];
  await client.addSmartcardKey(module.path, noPin, [only(absent, two)]);
  t.deepEqual(await blobs(client), [two]);
  const request = client.addSmartcardKey(module.path, noPin, [only(absent, absent)]);
  const reason = await whyRefused(t, client, request);
  t.is(reason?.code, "key-not-found");
  t.regex(reason?.sentence ?? "", /^The token ".*" has none of the chosen keys\.$/);
  const names = [one, two].map((key) => `${fingerprint(key)} (no label)`);
  t.is(reason?.hint, `It has ${names.join(", ")}.`);
  t.deepEqual(await blobs(client), [two]);
  t.true(await signs(client));
});

test("the chosen keys come back with the process of their library, and no others", async (t) => {
  const { module, client, keys } = await prepare(t, "keys=2");
  const [, two] = keys as [Buffer, Buffer];
  await client.addSmartcardKey(module.path, noPin, [only(two)]);
  module.behave("keys=2", "crash-sign");
  await t.throwsAsync(client.sign(two, Buffer.from("data")), refused);
  module.behave("keys=2");
  t.true(await signs(client));
  t.deepEqual(await blobs(client), [two]);
});

test("certificates come with chosen keys only", async (t) => {
  const { module, client, keys } = await prepare(t, "keys=2");
  const ca = makeCa();
  const certificates = keys.map((key) => ca.certify(decodePublicKey(key) ?? t.fail()));
  const [one] = keys as [Buffer, Buffer];
  const associated = { type: "associated-certs", certsOnly: false, certificates } as const;
  await client.addSmartcardKey(module.path, noPin, [only(one), associated]);
  t.deepEqual(await blobs(client), [certificates[0], one]);
  await client.addSmartcardKey(module.path, noPin, [only(one)]);
  t.deepEqual(await blobs(client), [certificates[0], one]);
});

test("the PIN is sent only to the token that has the chosen keys", async (t) => {
  const faults = ["tokens=2", "login", "login=2", "pin-2=5678", "tries=3"];
  const { module, client, keys } = await prepare(t, ...faults);
  const [one, two] = keys as [Buffer, Buffer];
  await client.addSmartcardKey(module.path, Buffer.from("5678"), [only(two)]);
  t.is(module.wrongPins(), 0);
  t.deepEqual(await blobs(client), [two]);
  t.is((await client.listProviders())[0]?.tokens.length, 1);
  // A key that no token shows may be on any of them.
  await client.addSmartcardKey(module.path, Buffer.from("5678"), [only(two, absent)]);
  t.is(module.wrongPins(), 1);
  module.behave("tokens=2", "login", "login=2", "pin-2=5678");
  await client.addSmartcardKey(module.path, pin(), [only(one)]);
  t.deepEqual(await blobs(client), [one]);
});

test("a choice of keys is for libraries only", async (t) => {
  const { client, keys } = await prepare(t);
  const [key = noPin] = keys;
  const request = client.addIdentity(generateKey("ed25519"), "key", [only(key)]);
  t.is((await whyRefused(t, client, request))?.code, "unsupported");
});

test("a removed key of a library stays away until it is loaded again; the others stay", async (t) => {
  const { module, client, keys } = await prepare(t, "keys=3", "login");
  const [one, two, three] = keys as [Buffer, Buffer, Buffer];
  await client.addSmartcardKey(module.path, pin());
  await client.removeIdentity(two);
  t.deepEqual(await blobs(client), [one, three]);
  await t.throwsAsync(client.sign(two, Buffer.from("data")), refused);
  t.true((await signs(client, 0)) && (await signs(client, 1)));
  module.behave("keys=3", "crash-sign");
  await t.throwsAsync(client.sign(one, Buffer.from("data")), refused);
  module.behave("keys=3", "lose-login");
  t.true((await signs(client, 0)) && (await signs(client, 1)));
  t.deepEqual(await blobs(client), [one, three]);
  t.deepEqual((await client.listProviders())[0]?.identities, [one, three]);
  await client.addSmartcardKey(module.path, pin());
  t.deepEqual(await blobs(client), keys);
  for (const key of keys) await client.removeIdentity(key);
  t.deepEqual(await client.listProviders(), []);
});
