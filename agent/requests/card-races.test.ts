import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { signal } from "../../fixtures/processes.ts";
import type { AgentClient } from "../../protocol/client.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { findProcess, logins } from "../pkcs11/test-hostile.ts";
import { makeCa, refused, TestClock } from "../test-agent.ts";
import { blobs, data, load, noPin, prepare, signs } from "./test-cards.ts";

/** "signed", or the code of the refusal. */
async function outcome(client: AgentClient, blob: Buffer): Promise<string> {
  const reason = async () => (await client.failureReason())?.code ?? "no reason";
  return client.sign(blob, data).then(() => "signed", reason);
}

test("a provider reloaded while another of its library is removed is removed too", async (t) => {
  const words = ["tokens=2", "token-label=first", "token-label-2=second"];
  const { one, agent, client } = await prepare(t, words);
  const uri = (choice: string) => `pkcs11:${choice}?module-path=${one.path}`;
  await client.addSmartcardKey(uri("token=first"), noPin);
  await client.addSmartcardKey(uri("token=second"), noPin);
  const finalizing = one.holdAt("finalize", ...words);
  const other = await agent.connect();
  const removing = client.removeSmartcardKey(one.path);
  t.true(await finalizing.reached());
  const loads = one.calls().length;
  const adding = other.addSmartcardKey(uri("token=second"), noPin);
  t.true(await eventually(() => one.calls().slice(loads).includes("load")));
  finalizing.goOn();
  await adding;
  await removing;
  const served = (await other.listProviders()).map(({ identities }) => identities.length);
  t.deepEqual(served, [1]);
  t.true(await signs(other));
});

test("the first of two libraries keeps its place and its limits when it is reloaded", async (t) => {
  let questions = 0;
  const ask = async () => {
    questions++;
    return true;
  };
  const { one, two, client } = await prepare(t, [], { prompter: { confirm: ask } });
  await client.addSmartcardKey(one.path, noPin, [{ type: "confirm" }]);
  await client.addSmartcardKey(two.path, noPin);
  await client.addSmartcardKey(one.path, noPin, [{ type: "confirm" }]);
  t.true(await signs(client));
  t.is(questions, 1);
  await client.removeSmartcardKey(one.path);
  t.true(await signs(client));
  t.is(questions, 1);
});

test("a locked agent shows no PIN prompt", async (t) => {
  const questions: ((pin: Buffer) => void)[] = [];
  const askPin = () => new Promise<Buffer>((resolve) => questions.push(resolve));
  const words = ["login", "always-authenticate"];
  const { one, agent, client } = await prepare(t, words, { prompter: { askPin } });
  await load(client, one);
  const [blob = noPin] = await blobs(client);
  const others = [await agent.connect(), await agent.connect()];
  const signing = others.map((other) => t.throwsAsync(other.sign(blob, data), refused));
  t.true(await eventually(() => questions.length === 1));
  await client.lock(Buffer.from("x"));
  questions[0]?.(Buffer.from(hostilePin));
  await Promise.all(signing);
  t.is(questions.length, 1);
});

test("a client that tries one key after another does not cause a prompt for each", async (t) => {
  const answers: (string | undefined)[] = [undefined, "0000", hostilePin];
  let asked = 0;
  const askPin = async () => {
    const answer = answers[asked++];
    return answer === undefined ? undefined : Buffer.from(answer);
  };
  const clock = new TestClock();
  const words = ["login", "keys=3", "tries=5"];
  const { one, agent, client } = await prepare(t, words, { prompter: { askPin }, clock });
  await load(client, one);
  one.behave(...words, "lose-login");
  const keys = await blobs(client);
  for (const [round, first] of ["pin-required", "pin-incorrect"].entries()) {
    const other = await agent.connect();
    const outcomes: string[] = [];
    for (const key of keys) outcomes.push(await outcome(other, key));
    t.deepEqual(outcomes, [first, "pin-required", "pin-required"]);
    t.is(asked, round + 1);
    other.close();
  }
  const patient = await agent.connect();
  answers.splice(2, 0, undefined);
  t.is(await outcome(patient, keys[0] ?? noPin), "pin-required");
  clock.pass(30_000);
  t.is(await outcome(patient, keys[1] ?? noPin), "signed");
  t.is(asked, 4);
});

test("a PIN entered before a lock is not used after it", async (t) => {
  const answers = [hostilePin];
  const askPin = async () => {
    const answer = answers.shift();
    return answer === undefined ? undefined : Buffer.from(answer);
  };
  const words = ["login", "always-authenticate"];
  const { one, agent, client } = await prepare(t, words, { prompter: { askPin }, keepPin: 3600 });
  await client.addSmartcardKey(one.path, noPin);
  const [blob = noPin] = await blobs(client);
  const login = one.holdAt("login", ...words);
  const other = await agent.connect();
  const signing = outcome(other, blob);
  t.true(await login.reached());
  await client.lock(Buffer.from("x"));
  login.goOn();
  await signing;
  t.is(one.calls().filter((call) => call === "login with a PIN").length, 1);
  one.behave(...words);
  await client.unlock(Buffer.from("x"));
  t.is(await outcome(client, blob), "pin-required");
});

test("a signature continues with the provider that replaces its own", async (t) => {
  const { one, agent, client } = await prepare(t);
  await load(client, one);
  const held = one.holdAt("sign");
  const other = await agent.connect();
  const signing = signs(other);
  t.true(await held.reached());
  await load(client, one);
  held.goOn();
  t.true(await signing);
});

test("a new process tells tokens of the same description apart", async (t) => {
  const same = ["token-label=x", "token-label-2=x", "serial=0", "serial-2=0"];
  const askPin = async () => Buffer.from("5678");
  const words = ["login", "tokens=2", "pin-2=5678", ...same];
  const { one, client } = await prepare(t, words, { prompter: { askPin } });
  await client.addSmartcardKey(one.path, noPin);
  const second = (await blobs(client))[1] ?? noPin;
  t.is(await outcome(client, second), "signed");
  signal(findProcess(one.path) ?? 0, "SIGKILL");
  t.true(await eventually(async () => (await client.listProviders())[0]?.state !== "ready"));
  t.is(await outcome(client, second), "signed");
  t.is(one.wrongPins(), 0);
});

test("a library with too many keys for a list is refused, and the list still works", async (t) => {
  const { one, two, agent, client } = await prepare(t);
  await load(client, one);
  const { keyring } = agent.agent;
  const [like] = [...keyring.identities()];
  if (like === undefined) return t.fail();
  const long = { ...like, comment: "x".repeat(50_000), provider: undefined };
  for (let at = 0; at < 5; at++) keyring.add({ ...long, blob: Buffer.of(0, 0, 0, 1, at) });
  await load(client, one, two);
  await client.removeSmartcardKey(two.path);
  const rest = { ...long, comment: "x".repeat(11_500), blob: Buffer.of(0, 0, 0, 1, 9) };
  keyring.add(rest);
  two.behave("keys=8", "label-length=200");
  const failure = async () => (await client.failureReason())?.code;
  t.is(await load(client, two).then(() => "loaded", failure), "too-large");
  t.is((await blobs(client)).length, 7);
  t.is((await client.listProviders()).length, 1);
});

test("comments are sanitized in prompts", async (t) => {
  const asked: string[] = [];
  const askPin = async (question: string) => {
    asked.push(question);
    return Buffer.from(hostilePin);
  };
  const { one, client } = await prepare(t, ["login"], { prompter: { askPin } });
  await load(client, one);
  const key = decodePublicKey((await blobs(client))[0] ?? noPin);
  if (key === undefined) return t.fail();
  const certificate = makeCa().certify(key);
  const comment = "a\x1bb)?\n\nYour screen was locked.";
  await client.addCertificate({ certificate, comment, replace: false, constraints: [] });
  one.behave("login", "lose-login");
  t.is(await outcome(client, certificate), "signed");
  t.regex(
    asked.join(),
    /use key a\ufffdb\)\?\ufffd\ufffdYour screen was locked\. \(SHA256:[^\n]+$/,
  );
});

test("keys that turn out to have no private key leave the list after the first login", async (t) => {
  const askPin = async () => Buffer.from(hostilePin);
  const words = ["login", "keys=3", "no-private=2"];
  const { one, client } = await prepare(t, words, { prompter: { askPin } });
  await client.addSmartcardKey(one.path, noPin);
  const all = await blobs(client);
  t.is(all.length, 3);
  t.true(await signs(client, 2));
  t.true(await eventually(async () => (await blobs(client)).length === 2));
  t.deepEqual(await blobs(client), [all[0], all[2]]);
  t.true(await signs(client, 0));
  t.is(logins(one).length, 1);
  const [provider] = await client.listProviders();
  t.is(provider?.identities.length, 2);
});
