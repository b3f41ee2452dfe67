import test from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import type { AgentClient } from "../protocol/client.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { AgentLock } from "./lock.ts";
import { generateKey, makeCa, refused, startAgent, TestClock } from "./test-agent.ts";
import type { UnlockClient } from "./unlock-queue.ts";
import { hangingUpstream } from "./upstream/test-upstreams.ts";

const passphrase = () => Buffer.from("open sesame");

/** A clock whose timers fire at once, and which records their delays. */
class InstantClock extends TestClock {
  readonly delays: number[] = [];

  override after(delay: number, callback: () => void): () => void {
    this.delays.push(delay);
    setImmediate(callback);
    return () => {};
  }
}

test("a locked agent lists nothing and does nothing, until it is unlocked", async (t) => {
  const client = await (await startAgent(t)).connect();
  const key = generateKey("ed25519");
  const blob = encodePublicKey(key.publicKey);
  await client.addIdentity(key, "key");
  await client.lock(passphrase());
  t.deepEqual(await client.identities(), []);
  const attempts = [
    () => client.sign(blob, Buffer.from("data")),
    () => client.addIdentity(generateKey("ed25519"), ""),
    () => client.removeIdentity(blob),
    () => client.removeAllIdentities(),
    () => client.removeAllRsaIdentities(),
    () => client.addSmartcardKey("/usr/lib/x.so", Buffer.alloc(0)),
    () => client.removeSmartcardKey("/usr/lib/x.so"),
    () => client.lock(passphrase()),
    () => client.listProviders(),
    () => client.removeAllProviders(),
  ];
  for (const attempt of attempts) {
    await t.throwsAsync(attempt(), refused);
    t.is((await client.failureReason())?.code, "locked");
  }
  await client.unlock(passphrase());
  t.is((await client.identities()).length, 1);
});

test("locking holds for all connections", async (t) => {
  const agent = await startAgent(t);
  const [one, other] = [await agent.connect(), await agent.connect()];
  await one.addIdentity(generateKey("ed25519"), "key");
  await one.lock(passphrase());
  t.deepEqual(await other.identities(), []);
  await other.unlock(passphrase());
  t.is((await one.identities()).length, 1);
});

test("what an agent answers after it was locked is the answer of a locked agent", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const { publicKey } = generateKey("ed25519");
  const blob = encodePublicKey(publicKey);
  const upstream = await hangingUpstream(path, blob);
  t.teardown(upstream.stop);
  const agent = await startAgent(t, { upstreams: [{ path, confirm: false }] });
  const certificate = makeCa().certify(publicKey);
  const asked: readonly ((client: AgentClient) => Promise<unknown>)[] = [
    (client) => client.sign(blob, Buffer.from("data")),
    (client) => client.removeIdentity(encodePublicKey(generateKey("ed25519").publicKey)),
    (client) => client.listProviders(),
    (client) => client.listRenewals(),
    (client) => client.listUpstreams(),
    (client) => client.addCertificate({ certificate, comment: "", replace: true, constraints: [] }),
  ];
  const pending = asked.map(async (ask) => {
    const client = await agent.connect();
    await t.throwsAsync(ask(client), refused);
    return (await client.failureReason())?.code;
  });
  const listing = (await agent.connect()).identities();
  const lists = () => upstream.held().filter((type) => type === "request-identities");
  t.true(await eventually(() => lists().length === asked.length + 1));
  const client = await agent.connect();
  await client.lock(passphrase());
  upstream.goOn();
  t.deepEqual([...new Set(await Promise.all(pending))], ["locked"]);
  t.deepEqual(await listing, []);
  await client.unlock(passphrase());
  t.is((await client.identities()).length, 1);
});

test("an empty passphrase does not lock, and an unlocked agent cannot be unlocked", async (t) => {
  const lock = new AgentLock(new InstantClock());
  await t.throwsAsync(lock.lock(Buffer.alloc(0)), { code: "malformed" });
  t.false(lock.isLocked);
  await t.throwsAsync(lock.unlock(passphrase()), { code: "malformed" });
});

test("each wrong passphrase makes the next answer slower, up to ten seconds", async (t) => {
  const clock = new InstantClock();
  const lock = new AgentLock(clock);
  await lock.lock(passphrase());
  const wrong = Array.from({ length: 4 }, () => lock.unlock(Buffer.from("wrong")));
  for (const attempt of wrong) await t.throwsAsync(attempt, { code: "locked" });
  t.deepEqual(clock.delays, [100, 200, 300, 400]);
  t.true(lock.isLocked);
  await lock.unlock(passphrase());
  t.false(lock.isLocked);
  await lock.lock(passphrase());
  await t.throwsAsync(lock.unlock(Buffer.from("wrong")), { code: "locked" });
  t.is(clock.delays.at(-1), 100);
});

const connectionOf = (pid: number) => ({ peer: { pid, uid: 0 }, isClosed: false });

/** Sends wrong passphrases and ignores the answers. */
function guess(lock: AgentLock, clients: readonly UnlockClient[]): void {
  for (const client of clients) lock.unlock(Buffer.from("wrong"), client).catch(() => {});
}

const thousands = (pid: number) => Array.from({ length: 4_000 }, () => connectionOf(pid));

test("the right passphrase does not wait behind thousands of guesses of another process", async (t) => {
  const clock = new InstantClock();
  const lock = new AgentLock(clock);
  await lock.lock(passphrase());
  guess(lock, thousands(7));
  await lock.unlock(passphrase(), connectionOf(8));
  t.true(clock.delays.length <= 1, `${clock.delays.length} guesses were verified before`);
  t.false(lock.isLocked);
});

test("the right passphrase does not wait behind guesses on other connections of its process", async (t) => {
  const clock = new InstantClock();
  const lock = new AgentLock(clock);
  await lock.lock(passphrase());
  guess(lock, thousands(7));
  const last = lock.unlock(passphrase(), connectionOf(7));
  await last;
  t.true(clock.delays.length <= 2, `${clock.delays.length} guesses were verified before`);
  await lock.lock(passphrase());
  clock.delays.length = 0;
  guess(lock, [connectionOf(7)]);
  const first = lock.unlock(passphrase(), connectionOf(7));
  guess(lock, thousands(7));
  await first;
  t.true(clock.delays.length <= 3, `${clock.delays.length} guesses were verified before`);
});

/** Fails until the next answer takes more than a second. */
async function failOften(lock: AgentLock, clock: TestClock, client: UnlockClient): Promise<void> {
  for (let failures = 1; failures <= 15; failures++) {
    const refusal = refusalOf(lock, client);
    await untilDelayed(clock);
    clock.pass(failures * 100);
    await refusal;
  }
}

const refusalOf = (lock: AgentLock, client: UnlockClient) =>
  lock.unlock(Buffer.from("wrong"), client).catch(() => {});

/** Waits until a guess has been verified: the clock then has a timer for its delay. */
async function untilDelayed(clock: TestClock): Promise<void> {
  while (clock.waits.length === 0) await new Promise((resolve) => setImmediate(resolve));
}

test("a process that has not failed waits a second at most, others ten", async (t) => {
  const clock = new TestClock();
  const lock = new AgentLock(clock);
  await lock.lock(passphrase());
  const [guesser, owner] = [connectionOf(7), connectionOf(8)];
  await failOften(lock, clock, guesser);
  const refusals = [refusalOf(lock, guesser)];
  await untilDelayed(clock);
  t.deepEqual(clock.waits, [1_000]);
  refusals.push(refusalOf(lock, guesser), refusalOf(lock, connectionOf(7)));
  clock.pass(1_000);
  t.deepEqual(clock.waits, [600]); // the guesses wait for the rest of the delay
  await lock.unlock(passphrase(), owner);
  t.deepEqual(clock.waits, [600]);
  clock.pass(600);
  await Promise.all(refusals);
});

test("attempts of closed connections are dropped", async (t) => {
  const clock = new InstantClock();
  const lock = new AgentLock(clock);
  await lock.lock(passphrase());
  const clients = Array.from({ length: 100 }, () => ({ ...connectionOf(7), isClosed: false }));
  const attempts = clients.map((client) => lock.unlock(passphrase(), client));
  for (const client of clients.slice(1)) client.isClosed = true;
  const outcomes = await Promise.allSettled(attempts);
  t.is(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  await lock.lock(passphrase());
  const gone = { ...connectionOf(7), isClosed: true };
  await t.throwsAsync(lock.unlock(passphrase(), gone), { code: "locked" });
  t.true(lock.isLocked);
  t.deepEqual(clock.delays, []);
});

test("the owner unlocks an agent that a thousand connections guess at, again and again", async (t) => {
  const { connect, log } = await startAgent(t, { clock: new InstantClock() });
  const owner = await connect();
  await owner.lock(passphrase());
  const verified = () => log.filter((line) => line.startsWith("refused request 23: locked")).length;
  const guessers = await Promise.all(Array.from({ length: 1_000 }, connect));
  const guessOn = async (guesser: AgentClient): Promise<void> => {
    await guesser.unlock(Buffer.from("wrong")).catch(() => {});
    if (isGuessing) await guessOn(guesser);
  };
  let isGuessing = true;
  for (const guesser of guessers) void guessOn(guesser);
  while (verified() < 5) await new Promise((resolve) => setImmediate(resolve));
  const before = verified();
  await (await connect()).unlock(passphrase());
  isGuessing = false;
  t.true(verified() - before <= 3, `${verified() - before} guesses were verified before`);
});
