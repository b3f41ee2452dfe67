import test from "ava";
import type { Certificate } from "../protocol/certificate.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { verifyKeyOrCertificate } from "../protocol/verification.ts";
import type { KeyringIdentity } from "./identity.ts";
import { Keyring } from "./keyring.ts";
import { SoftwareKey } from "./keys/software-key.ts";
import { generateKey, makeCa, makeKeyParts, TestClock } from "./test-agent.ts";

const key = generateKey("ed25519");
const signer = await SoftwareKey.import(makeKeyParts(), generateKey("ed25519"));
const ca = makeCa();

/** An identity of a provider, or of a key in memory. */
function identityOf(blob: Buffer, provider?: string, dropped?: bigint): KeyringIdentity {
  const limits = { expires: undefined, confirm: false, destinations: [] };
  const none = { keyExpires: undefined, upstream: undefined, isRemote: false };
  return {
    ...verifyKeyOrCertificate(blob),
    ...none,
    blob,
    comment: "",
    signer,
    limits,
    dropped,
    provider,
  };
}

function certificate(fields: Partial<Certificate>): Buffer {
  return ca.certify(key.publicKey, fields);
}

const plain = encodePublicKey(key.publicKey);
const none = new Set<KeyringIdentity>();

test("a card key can be certified again after a key in memory superseded its certificate", (t) => {
  const keyring = new Keyring(
    new TestClock(),
    () => 0n,
    () => {},
  );
  const first = identityOf(certificate({ serial: 1n }), "card");
  keyring.exchangeProvider("card", [first]);
  const second = identityOf(certificate({ serial: 2n }));
  keyring.add(second, new Set([first]));
  t.deepEqual([...keyring.identities()], [second]);
  t.true(keyring.hasKeyOf("card"));
  keyring.remove(second.blob);
  const [held] = keyring.withPrivateKey(plain);
  t.is(held?.provider, "card");
  const third = identityOf(certificate({ serial: 3n }), "card");
  keyring.addCertificate(third, held ?? third, none);
  keyring.remove(third.blob);
  t.false(keyring.hasKeyOf("card"));
});

test("a certificate of several cards expires for each, and their keys stay", (t) => {
  const clock = new TestClock();
  let now = 0n;
  const gone: string[] = [];
  const keyring = new Keyring(
    clock,
    () => now,
    ({ provider }, removal) => gone.push(`${provider} ${removal}`),
  );
  const blob = certificate({ validBefore: 50n });
  for (const provider of ["one", "two"]) {
    keyring.exchangeProvider(provider, [identityOf(blob, provider, 55n)]);
  }
  now = 54n;
  clock.pass(54_000);
  t.is(keyring.size, 1);
  now = 55n;
  clock.pass(1_000);
  t.is(keyring.size, 0);
  t.deepEqual(gone, ["one ended", "two ended"]);
  t.true(keyring.hasKeyOf("one") && keyring.hasKeyOf("two"));
  keyring.exchangeProvider("one", [identityOf(plain, "one")]);
  t.is(keyring.withPrivateKey(plain)[0]?.provider, "one");
  keyring.removeProvider("two");
  t.false(keyring.hasKeyOf("two"));
});

test("certificates of keys on cards are listed before all plain keys", (t) => {
  const keyring = new Keyring(
    new TestClock(),
    () => 0n,
    () => {},
  );
  const other = generateKey("ed25519").publicKey;
  const inMemory = identityOf(encodePublicKey(other));
  const ofMemory = identityOf(ca.certify(other));
  const onCard = identityOf(plain, "card");
  const loaded = identityOf(certificate({ serial: 1n }), "card");
  const attached = identityOf(certificate({ serial: 2n }), "card");
  keyring.add(inMemory);
  keyring.add(ofMemory);
  keyring.exchangeProvider("card", [loaded, onCard]);
  keyring.addCertificate(attached, onCard, none);
  const rest = [inMemory, ofMemory];
  t.deepEqual([...keyring.identities()], [loaded, attached, ...rest, onCard]);
  const renewed = identityOf(certificate({ serial: 3n }), "card");
  keyring.addCertificate(renewed, onCard, new Set([loaded]));
  t.deepEqual([...keyring.identities()], [renewed, attached, ...rest, onCard]);
  keyring.remove(attached.blob);
  t.deepEqual([...keyring.identities()], [renewed, ...rest, onCard]);
});
