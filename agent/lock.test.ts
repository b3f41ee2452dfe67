import test from "ava";
import { AgentRefusal } from "../protocol/client.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { AgentLock } from "./lock.ts";
import { generateKey, startAgent, TestClock } from "./test-agent.ts";

const refused = { instanceOf: AgentRefusal };
const passphrase = () => Buffer.from("open sesame");

/** A clock whose timers go off at once, and that keeps what they waited for. */
class HastyClock extends TestClock {
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

test("an empty passphrase does not lock, and nothing unlocks what is open", async (t) => {
  const lock = new AgentLock(new HastyClock());
  await t.throwsAsync(lock.lock(Buffer.alloc(0)), { code: "malformed" });
  t.false(lock.isLocked);
  await t.throwsAsync(lock.unlock(passphrase()), { code: "malformed" });
});

test("each wrong passphrase makes the next answer slower, up to ten seconds", async (t) => {
  const clock = new HastyClock();
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
