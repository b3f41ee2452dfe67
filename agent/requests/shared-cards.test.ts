import { setTimeout } from "node:timers/promises";
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { type HostileModule, hostilePin } from "../../fixtures/hostile-module/index.ts";
import type { Constraint } from "../../protocol/constraints.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";

import { makeCa, refused, TestClock } from "../test-agent.ts";
import { blobs, data, load, noPin, prepare, signs } from "./test-cards.ts";

/** How often a library was asked to sign. */
function signatures(module: HostileModule): number {
  return module.calls().filter((call) => call === "sign").length;
}

test("a key of two libraries is listed once, and both are reported to serve it", async (t) => {
  const { one, two, client } = await prepare(t);
  await load(client, one, two);
  const [blob, ...others] = await blobs(client);
  t.deepEqual(others, []);
  t.deepEqual(
    (await client.listProviders()).map(({ path, identities }) => [path, identities]),
    [
      [one.path, [blob]],
      [two.path, [blob]],
    ],
  );
  t.true(await signs(client));
  t.deepEqual([signatures(one), signatures(two)], [0, 1]);
  await load(client, one);
  t.true(await signs(client));
  t.deepEqual([signatures(one), signatures(two)], [1, 1], "the one that had the PIN last");
});

test("a key is served by the library whose card is present", async (t) => {
  const { one, two, client } = await prepare(t);
  await load(client, one, two);
  one.behave("absent");
  t.true(await signs(client));
  two.behave("absent");
  await t.throwsAsync(signs(client), refused);
  t.is((await client.failureReason())?.code, "token-removed");
  one.behave("epoch=2");
  t.true(await signs(client));
  t.is(signatures(two), 1);
});

test("a key is removed with the last library that shows it", async (t) => {
  const { one, two, client } = await prepare(t);
  await load(client, one, two);
  await client.removeSmartcardKey(one.path);
  t.is((await blobs(client)).length, 1);
  t.true(await signs(client));
  await load(client, one);
  await client.removeSmartcardKey(two.path);
  t.true(await signs(client));
  await client.removeSmartcardKey(one.path);
  t.deepEqual(await blobs(client), []);
  t.deepEqual(await client.listProviders(), []);
});

test("removing a key removes it from all libraries", async (t) => {
  const { one, two, client } = await prepare(t);
  await load(client, one, two);
  await client.removeIdentity((await blobs(client))[0] ?? noPin);
  t.deepEqual(await blobs(client), []);
  t.deepEqual(await client.listProviders(), []);
});

test("the limits of the first library apply, and then those of the next one", async (t) => {
  const clock = new TestClock();
  const questions: string[] = [];
  const ask = (question: string) => {
    questions.push(question);
    return Promise.resolve(true);
  };
  const { one, two, client } = await prepare(t, [], { clock, prompter: { confirm: ask } });
  const shortLived: Constraint[] = [{ type: "lifetime", seconds: 60 }];
  await client.addSmartcardKey(one.path, noPin, shortLived);
  await client.addSmartcardKey(two.path, noPin, [{ type: "confirm" }]);
  t.true(await signs(client));
  t.is(questions.length, 0);
  clock.pass(60_000);
  t.deepEqual(
    (await client.listProviders()).map(({ path }) => path),
    [two.path],
  );
  t.true(await signs(client));
  t.is(questions.length, 1);
});

test("there is no PIN prompt while another library signs without", async (t) => {
  const asked: string[] = [];
  const askPin = (question: string) => {
    asked.push(question);
    return Promise.resolve(Buffer.from(hostilePin));
  };
  const { one, two, client } = await prepare(t, ["login"], { prompter: { askPin } });
  await load(client, one, two);
  one.behave("login", "lose-login");
  t.true(await signs(client));
  t.deepEqual(asked, []);
  two.behave("login", "lose-login");
  t.true(await signs(client));
  t.is(asked.length, 1);
  t.regex(asked[0] ?? "", /^Enter PIN for token hostile to use key one \(SHA256:\S+\): $/);
});

for (const words of ["lose-login locked", "lose-login no-sign", "sign-init-error=0x70"]) {
  test(`when a library cannot sign, the other one does (${words})`, async (t) => {
    const { one, two, client } = await prepare(t, ["login"]);
    await load(client, one, two);
    one.behave("login", ...words.split(" "));
    t.true(await signs(client));
    t.is(signatures(two), 1);
  });
}

test("a signature waiting for another key's prompt does not fail with that key", async (t) => {
  const questions: ((pin: Buffer) => void)[] = [];
  const askPin = () => new Promise<Buffer>((resolve) => questions.push(resolve));
  const { one, agent, client } = await prepare(t, ["login", "keys=2"], { prompter: { askPin } });
  await load(client, one);
  one.behave("login", "keys=2", "lose-login");
  const [asking, waiting] = [await agent.connect(), await agent.connect()];
  const [first = noPin, second = noPin] = await blobs(client);
  const refusal = t.throwsAsync(asking.sign(first, data), refused);
  t.true(await eventually(() => questions.length === 1));
  const signature = t.notThrowsAsync(waiting.sign(second, data));
  t.true(await eventually(() => signatures(one) === 2));
  await setTimeout(200); // no event shows that the second one waits for the prompt of the first
  await client.removeIdentity(first);
  questions[0]?.(Buffer.from(hostilePin));
  await refusal;
  t.true(await eventually(() => questions.length === 2));
  questions[1]?.(Buffer.from(hostilePin));
  await signature;
});

test("a certificate is removed with the library that its key was listed for", async (t) => {
  const { one, two, client } = await prepare(t);
  await load(client, one, two);
  const key = decodePublicKey((await blobs(client))[0] ?? noPin);
  if (key === undefined) return t.fail();
  const certificate = makeCa().certify(key);
  await client.addCertificate({ certificate, comment: "", replace: false, constraints: [] });
  one.behave("absent");
  t.true(verifySignature(key, await client.sign(certificate, data), data));
  await client.removeSmartcardKey(one.path);
  t.is((await blobs(client)).length, 1);
});

test("locking the agent forgets the cached PINs", async (t) => {
  const { one, client } = await prepare(t, ["login"], { keepPin: 3600 });
  await load(client, one);
  one.behave("login", "lose-login");
  t.true(await signs(client));
  await client.lock(Buffer.from("secret"));
  await client.unlock(Buffer.from("secret"));
  t.true(await signs(client)); // the login holds
  one.behave("login", "lose-login=2");
  await t.throwsAsync(signs(client), refused);
  t.is((await client.failureReason())?.code, "pin-required");
});

test("signatures and loads in progress when the agent is locked are refused", async (t) => {
  const { one, two, agent, client } = await prepare(t);
  await load(client, one);
  const [blob = noPin] = await blobs(client);
  one.behave("hang-sign");
  two.behave("hang-slots");
  const [signing, loading] = [await agent.connect(), await agent.connect()];
  const signature = t.throwsAsync(signing.sign(blob, data), refused);
  const added = t.throwsAsync(loading.addSmartcardKey(two.path, noPin), refused);
  t.true(await eventually(() => signatures(one) > 0 && two.calls().includes("slots")));
  await client.lock(Buffer.from("lock"));
  one.behave();
  two.behave();
  await Promise.all([signature, added]);
  t.is((await signing.failureReason())?.code, "locked");
  await client.unlock(Buffer.from("lock"));
  t.is((await client.listProviders()).length, 1);
});

test("a PIN entered while the agent was locked is not used", async (t) => {
  let locking: Promise<void> = Promise.resolve();
  const askPin = async () => {
    locking = client.lock(Buffer.from("secret"));
    await locking;
    return Buffer.from(hostilePin);
  };
  const { one, agent } = await prepare(t, ["login"], { prompter: { askPin } });
  const client = await agent.connect();
  await load(client, one);
  const other = await agent.connect();
  one.behave("login", "lose-login");
  await t.throwsAsync(signs(other), refused);
  await locking;
  t.is((await other.failureReason())?.code, "locked");
  t.is(one.calls().filter((call) => call === "login with a PIN").length, 1);
});
