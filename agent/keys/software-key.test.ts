import test from "ava";
import { Failure } from "../../protocol/failure.ts";
import type { PrivateKey, SecretFields } from "../../protocol/private-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { generateKey, keyTypes, makeKeyParts, TestClock } from "../test-agent.ts";
import { OpenKeys } from "./open-keys.ts";
import { SoftwareKey } from "./software-key.ts";

const malformed = { instanceOf: Failure, code: "malformed" };

/** The shared parts of keys, with a stepped clock; `collected` has the times of collections. */
function makeParts() {
  const clock = new TestClock();
  const collected: number[] = [];
  const openKeys = new OpenKeys(clock, () => collected.push(clock.now()));
  return { ...makeKeyParts(), clock, collected, openKeys };
}

const softwareSigner = (key: PrivateKey) => SoftwareKey.import(makeParts(), key);

for (const type of keyTypes) {
  test(`a ${type} key signs what its public key verifies`, async (t) => {
    const key = generateKey(type);
    const signer = await softwareSigner(key);
    const data = Buffer.from("data to be signed");
    for (const flags of type === "rsa" ? [0, 2, 4] : [0]) {
      t.true(verifySignature(key.publicKey, await signer.sign({ data, flags }), data));
    }
  });

  test(`a ${type} key with another's public key is malformed`, async (t) => {
    const { secret } = generateKey(type);
    const { publicKey } = generateKey(type);
    await t.throwsAsync(softwareSigner({ publicKey, secret, certificate: undefined }), malformed);
  });
}

function withSecret(key: PrivateKey, change: (secret: SecretFields) => SecretFields): PrivateKey {
  return { ...key, secret: change(key.secret) };
}

test("an RSA key with a damaged or missing number is malformed", async (t) => {
  const key = generateKey("rsa");
  const other = generateKey("rsa").secret;
  const otherPrime = other.type === "rsa" ? other.p : Buffer.alloc(0);
  const damages = [Buffer.alloc(0), Buffer.of(1), Buffer.of(3), Buffer.alloc(64, 0xff), otherPrime];
  // OpenSSL detects and corrects a wrong iqmp alone at each signature.
  await t.throwsAsync(
    softwareSigner(withSecret(key, (secret) => ({ ...secret, iqmp: Buffer.alloc(0) }))),
    malformed,
  );
  for (const name of ["d", "p", "q"] as const) {
    for (const damage of damages) {
      const damaged = withSecret(key, (secret) => ({ ...secret, [name]: damage }));
      await t.throwsAsync(softwareSigner(damaged), malformed, `${name} ${damage.length}`);
    }
  }
});

test("a private key of another type than its public key is malformed", async (t) => {
  const { publicKey } = generateKey("rsa");
  const { secret } = generateKey("nistp256");
  await t.throwsAsync(softwareSigner({ publicKey, secret, certificate: undefined }), malformed);
});

test("a key of a FIDO authenticator is unsupported", async (t) => {
  const publicKey = {
    type: "sk-ed25519",
    publicKey: Buffer.alloc(32),
    application: "ssh:",
  } as const;
  const secret = {
    type: "sk-ed25519",
    flags: 1,
    keyHandle: Buffer.from("handle"),
    reserved: Buffer.alloc(0),
  } as const;
  const code = "unsupported";
  await t.throwsAsync(softwareSigner({ publicKey, secret, certificate: undefined }), { code });
});

test("a key with invalid numbers is malformed, with the reason", async (t) => {
  const [rsa, ec] = [generateKey("rsa"), generateKey("nistp256")];
  const { publicKey } = rsa;
  const { secret } = rsa;
  if (publicKey.type !== "rsa" || secret.type !== "rsa" || ec.secret.type !== "ecdsa") {
    return t.fail();
  }
  const short = Buffer.from(publicKey.n);
  short[0] = 0x7f;
  const order = Buffer.from(
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    "hex",
  );
  const faulty: readonly [PrivateKey, RegExp][] = [
    [{ ...rsa, publicKey: { ...publicKey, n: short } }, /1023 bits is too short/],
    [{ ...rsa, publicKey: { ...publicKey, e: Buffer.of(4) } }, /public exponent is even/],
    [{ ...rsa, publicKey: { ...publicKey, e: Buffer.of(1) } }, /public exponent is even, or/],
    [{ ...rsa, publicKey: { ...publicKey, e: publicKey.n } }, /public exponent is not below/],
    [withSecret(rsa, () => ({ ...secret, d: publicKey.n })), /private exponent is not below/],
    [withSecret(rsa, () => ({ ...secret, d: Buffer.alloc(128) })), /Incomplete RSA/],
    [withSecret(rsa, () => ({ ...secret, p: publicKey.n })), /primes .* do not match/],
    [withSecret(rsa, () => ({ ...secret, iqmp: secret.p })), /coefficient is not below/],
    [withSecret(ec, () => ({ type: "ecdsa", d: order })), /not below its curve's order/],
    [withSecret(ec, () => ({ type: "ecdsa", d: Buffer.alloc(32) })), /is zero/],
    [{ ...ec, publicKey: generateKey("nistp256").publicKey }, /does not belong/],
  ];
  for (const [key, message] of faulty) {
    const failure = await t.throwsAsync<Failure>(softwareSigner(key), { ...malformed, message });
    t.regex(failure.hint, /ssh-keygen/);
  }
});

test("an unused key is shielded after a minute, by one timer for all, and signs again", async (t) => {
  const parts = makeParts();
  const types = ["ed25519", "nistp256", "rsa"] as const;
  const keys = await Promise.all(
    types.map(async (type) => {
      const key = generateKey(type);
      return { key, signer: await SoftwareKey.import(parts, key) };
    }),
  );
  t.is(parts.clock.waits.length, 1);
  parts.clock.pass(60_000);
  t.is(parts.collected.length, 1);
  t.deepEqual(parts.clock.waits, []);
  for (const { key, signer } of keys) {
    const data = Buffer.from("data");
    t.true(verifySignature(key.publicKey, await signer.sign({ data, flags: 2 }), data));
  }
  t.is(parts.clock.waits.length, 1);
});

test("garbage is collected between signatures, and after two seconds at the latest", async (t) => {
  const parts = makeParts();
  const key = generateKey("ed25519");
  const signer = await SoftwareKey.import(parts, key);
  const sign = () => signer.sign({ data: Buffer.from("data"), flags: 0 });
  const expected: readonly [signatures: number, wait: number][] = [
    [0, 500],
    [3, 750],
    [100, 1_500],
  ];
  for (const [signatures, wait] of expected) {
    const start = parts.clock.now();
    (await SoftwareKey.import(parts, generateKey("ed25519"))).forget();
    for (let at = 0; at < signatures; at++) {
      sign();
      parts.clock.pass(50);
    }
    parts.clock.pass(2_000);
    t.deepEqual(parts.collected.splice(0), [start + wait]);
  }
});

test("a key that was removed signs no more", async (t) => {
  const signer = await SoftwareKey.import(makeParts(), generateKey("ed25519"));
  signer.forget();
  t.throws(() => signer.sign({ data: Buffer.from("data"), flags: 0 }), { code: "key-not-found" });
});
