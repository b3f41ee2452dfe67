/** The keys and certificates of a card that is reloaded. */
import test from "ava";
import { forever } from "../../protocol/certificate.ts";
import type { AgentClient } from "../../protocol/client.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { decodePublicKey, encodePublicKey } from "../../protocol/public-key.ts";
import { makeCa, refused, TestClock } from "../test-agent.ts";
import { blobs, data, load, noPin, prepare } from "./test-cards.ts";

/** Two certificates of one CA for the agent's first key, which never expire. */
async function twoCertificates(client: AgentClient) {
  const key = decodePublicKey((await blobs(client))[0] ?? noPin);
  if (key === undefined) throw new Error("there is no key");
  const ca = makeCa();
  const certify = (serial: bigint) => ca.certify(key, { serial, validBefore: forever });
  return [certify(1n), certify(2n)] as const;
}

/** A clock that does not let a timer be set again and again. */
class ShortClock extends TestClock {
  #timers = 0;
  override after(delay: number, callback: () => void): () => void {
    if (++this.#timers > 100) throw new Error("the timer is set without end");
    return super.after(delay, callback);
  }
}

function withCertificate(certificate: Buffer, certsOnly = false): Constraint {
  return { type: "associated-certs", certsOnly, certificates: [certificate] };
}

test("a renewed certificate is renewed for all libraries that show its key", async (t) => {
  const { one, two, client } = await prepare(t);
  await load(client, one);
  const [first, second] = await twoCertificates(client);
  await client.addSmartcardKey(one.path, noPin, [withCertificate(first)]);
  await client.addSmartcardKey(two.path, noPin, [withCertificate(first)]);
  const renewal = { certificate: second, comment: "", replace: true, constraints: [] };
  await client.addCertificate(renewal);
  await client.removeSmartcardKey(two.path);
  await client.addSmartcardKey(one.path, noPin, [withCertificate(first)]);
  await client.removeSmartcardKey(one.path);
  t.deepEqual(await client.listProviders(), []);
  t.deepEqual(await blobs(client), []);
});

test("the lifetime of a superseded certificate removes nothing", async (t) => {
  const clock = new ShortClock();
  const { one, two, client } = await prepare(t, [], { clock });
  await load(client, one);
  const [first, second] = await twoCertificates(client);
  await client.addSmartcardKey(one.path, noPin, [withCertificate(first)]);
  const lifetime: Constraint = { type: "lifetime", seconds: 60 };
  await client.addSmartcardKey(two.path, noPin, [withCertificate(first), lifetime]);
  const renewal = { certificate: second, comment: "", replace: true, constraints: [] };
  await client.addCertificate(renewal);
  t.notThrows(() => clock.pass(60_000));
  t.deepEqual(clock.waits, []);
  t.is((await blobs(client)).length, 2);
});

test("a library that is replaced ends at once, without C_Finalize", async (t) => {
  const { one, client } = await prepare(t);
  await load(client, one);
  one.behave("hang-finalize");
  await load(client, one);
  t.false(one.calls().includes("finalize"));
  const [blob = noPin] = await blobs(client);
  await t.notThrowsAsync(client.sign(blob, data));
  one.behave();
  await client.removeAllIdentities();
  t.deepEqual(await client.listProviders(), []);
  t.deepEqual(await blobs(client), []);
});

test("certificates without a matching key remove no loaded key", async (t) => {
  const { one, client } = await prepare(t);
  await load(client, one);
  const key = decodePublicKey((await blobs(client))[0] ?? noPin);
  if (key === undefined) return t.fail();
  const expired = makeCa().certify(key, { validBefore: 5n });
  const only = [withCertificate(expired, true)];
  await t.throwsAsync(client.addSmartcardKey(one.path, noPin, only), refused);
  t.is((await client.failureReason())?.code, "no-matching-key");
  const [blob = noPin] = await blobs(client);
  await t.notThrowsAsync(client.sign(blob, data));
  t.is((await client.listProviders()).length, 1);
});

test("a certificate added with the card supersedes the earlier ones", async (t) => {
  const { one, client } = await prepare(t);
  await load(client, one);
  const key = decodePublicKey((await blobs(client))[0] ?? noPin);
  if (key === undefined) return t.fail();
  const ca = makeCa();
  const others = makeCa().certify(key);
  await client.addCertificate({
    certificate: others,
    comment: "",
    replace: false,
    constraints: [],
  });
  for (const serial of [1n, 2n, 3n]) {
    const certificate = ca.certify(key, { serial });
    await client.addSmartcardKey(one.path, noPin, [withCertificate(certificate)]);
    const expected = [others, certificate, encodePublicKey(key)];
    t.deepEqual((await blobs(client)).map(String).sort(), expected.map(String).sort());
  }
});

test("a kept certificate is also subject to the new limits", async (t) => {
  const clock = new TestClock();
  let questions = 0;
  const ask = () => Promise.resolve(++questions === 0);
  const { one, client } = await prepare(t, [], { prompter: { confirm: ask }, clock });
  await load(client, one);
  const [certificate] = await twoCertificates(client);
  await client.addCertificate({ certificate, comment: "", replace: false, constraints: [] });
  const limits: Constraint[] = [{ type: "confirm" }, { type: "lifetime", seconds: 60 }];
  await client.addSmartcardKey(one.path, noPin, limits);
  t.is((await blobs(client)).length, 2);
  await t.throwsAsync(client.sign(certificate, data), refused);
  t.is(questions, 1);
  clock.pass(60_000);
  t.deepEqual(await blobs(client), []);
});
