/** Which private key belongs to which public key. */
import test, { type ExecutionContext } from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { loaded, sign, signOnce } from "./test-hostile.ts";
import { noUser, pinOf } from "./test-registry.ts";

/** Loads the hostile module, and signs with each key, two times over. */
async function signAll(t: ExecutionContext, ...words: string[]) {
  const { module, provider } = await loaded(t, words);
  const before = module.calls().length;
  const outcomes: string[] = [];
  const places = [...provider.keys.keys()];
  for (const at of [...places, ...places]) outcomes.push(await signOnce(provider, at));
  const signatures = module
    .calls()
    .slice(before)
    .filter((call) => call === "sign").length;
  const labels = provider.keys.map(({ label }) => label);
  const leftOut = provider.leftOut.map(({ object, reason }) => `${object}: ${reason}`);
  return { module, provider, outcomes, signatures, labels, leftOut };
}

interface Case {
  readonly words: readonly string[];
  /** The labels of the keys that are listed; each of them signs. */
  readonly keys: readonly string[];
  /** How many signatures are not the key's, over all keys. */
  readonly wrong: number;
  readonly leftOut?: readonly string[];
}

const three = ["one", "two", "three"];
const sameLabels = ["label=k", "label-2=k", "label-3=k"];
const sameIds = ["id=a", "id-2=a", "id-3=a"];
const shiftedIds = ["private-id=\\x2b", "private-id-2=\\x2c", "private-id-3=\\x2a"];

const cases: Readonly<Record<string, Case>> = {
  "a token that keeps to the standard": { words: ["keys=3"], keys: three, wrong: 0 },
  "no IDs, but labels": { words: ["keys=3", "no-id"], keys: three, wrong: 0 },
  "no IDs, but labels, in another order": {
    words: ["keys=3", "no-id", "reversed"],
    keys: three,
    wrong: 0,
  },
  "no IDs and the same labels": {
    words: ["keys=3", "no-id", ...sameLabels, "reversed"],
    keys: ["k", "k", "k"],
    wrong: 2,
  },
  "no IDs and labels, but points in the private keys": {
    words: ["keys=3", "no-id", "no-label", "private-params", "private-point", "reversed"],
    keys: ["", "", ""],
    wrong: 0,
  },
  "no IDs and labels, but CKA_PUBLIC_KEY_INFO": {
    words: ["keys=3", "no-id", "no-label", "private-info", "reversed"],
    keys: ["", "", ""],
    wrong: 0,
  },
  "equal IDs and labels": {
    words: ["keys=3", ...sameIds, ...sameLabels, "reversed"],
    keys: ["k", "k", "k"],
    wrong: 2,
  },
  "equal IDs": { words: ["keys=3", ...sameIds, "reversed"], keys: three, wrong: 0 },
  "other IDs of the private keys": {
    words: ["keys=3", "private-id=x", "private-id-2=y", "private-id-3=z", "reversed"],
    keys: three,
    wrong: 0,
  },
  "IDs of other keys' private keys": {
    words: ["keys=3", ...shiftedIds],
    keys: three,
    wrong: 1,
  },
  "one key under two IDs": { words: ["keys=2", "same-2=1"], keys: ["one"], wrong: 0 },
  "a private key alone, with its point": {
    words: ["keys=2", "no-public=2", "private-params", "private-point"],
    keys: ["one", "two"],
    wrong: 0,
  },
  "a private key alone, with CKA_PUBLIC_KEY_INFO": {
    words: ["keys=2", "no-public=2", "private-info"],
    keys: ["one", "two"],
    wrong: 0,
  },
  "a private key alone": {
    words: ["keys=2", "no-public=2"],
    keys: ["one"],
    wrong: 0,
    leftOut: ['private key "two", ID 2b: no public key'],
  },
  "a certificate instead of a public key": {
    words: ["keys=2", "no-public", "certificate"],
    keys: ["one", "two"],
    wrong: 0,
  },
  "a certificate without an ID": {
    words: ["no-public", "certificate", "certificate-id="],
    keys: ["one"],
    wrong: 0,
  },
  "certificates with other IDs": {
    words: ["keys=2", "no-public", "certificate", "certificate-id=x", "certificate-id-2=y"],
    keys: ["one", "two"],
    wrong: 0,
  },
  "a certificate with another ID beside its public key": {
    words: ["certificate", "certificate-id=x"],
    keys: ["one"],
    wrong: 0,
  },
  "a certificate of a key that was replaced": {
    words: ["keys=2", "certificate=1", "certificate-key=5"],
    keys: ["one", "two"],
    wrong: 0,
    leftOut: ['certificate "one", ID 2a: no private key'],
  },
  "a certificate of a key that was replaced, and no public key": {
    words: ["no-public", "certificate", "certificate-key=5", "private-params", "private-point"],
    keys: ["one"],
    wrong: 0,
    leftOut: ['certificate "one", ID 2a: no private key'],
  },
  "a public key and a certificate of a key that is gone": {
    words: ["keys=2", "certificate", "no-private=2"],
    keys: ["one"],
    wrong: 0,
    leftOut: ['public key "two", ID 2b: no private key'],
  },
  "a certificate of a CA": {
    words: ["keys=2", "no-public", "certificate", "certificate-ca=2", "no-private=2"],
    keys: ["one"],
    wrong: 0,
    leftOut: ['certificate "two", ID 2b: no private key'],
  },
  "certificates of an end entity and a CA, without IDs": {
    words: [
      "keys=2",
      "no-public",
      "no-id",
      "no-label",
      "certificate",
      "certificate-ca=1",
      "no-private=1",
    ],
    keys: [""],
    wrong: 0,
    leftOut: ["certificate: no private key"],
  },
  "a self-signed certificate of a CA": {
    words: ["no-public", "no-id", "certificate", "certificate-ca"],
    keys: ["one"],
    wrong: 0,
  },
};

for (const [name, { words, keys, wrong, leftOut = [] }] of Object.entries(cases)) {
  test(`each key signs with its private key: ${name}`, async (t) => {
    const result = await signAll(t, ...words);
    t.deepEqual(result.labels, [...keys]);
    t.deepEqual(result.leftOut, [...leftOut]);
    t.deepEqual(new Set(result.outcomes), new Set(["signed"]));
    t.is(result.signatures, 2 * keys.length + wrong);
  });
}

test("what was found out is remembered when the sessions were lost", async (t) => {
  const words = ["keys=3", ...sameIds, ...sameLabels, "reversed"];
  const { module, provider } = await signAll(t, ...words);
  module.behave(...words, "epoch=2");
  const before = module.calls().length;
  for (const at of provider.keys.keys()) t.is(await signOnce(provider, at), "signed");
  const signatures = module
    .calls()
    .slice(before)
    .filter((call) => call === "sign");
  t.is(signatures.length, 3);
});

test("a signature that no other key could have made is not tried with other keys' private keys", async (t) => {
  const { module, provider } = await loaded(t, ["keys=3"]);
  module.behave("keys=3", "garbage-signature");
  const before = module.calls().length;
  t.is(await sign(provider), "module-crashed");
  const signatures = module
    .calls()
    .slice(before)
    .filter((call) => call === "sign");
  t.is(signatures.length, 1);
  module.behave("keys=3");
  t.is(await sign(provider), "signed");
});

test("a token that keeps to the standard is read once, and signs without another search", async (t) => {
  const { module, provider } = await loaded(t, ["keys=3", "certificate", "record-searches"]);
  const count = (name: string) => module.calls().filter((call) => call === name).length;
  const isRead = { searches: count("find-init"), attributes: count("attribute") };
  // Of each key: the private key and the certificate in one step, the public key in two.
  t.deepEqual(isRead, { searches: 3, attributes: 3 * 2 * (1 + 2 + 1) });
  for (const at of provider.keys.keys()) t.is(await signOnce(provider, at), "signed");
  t.is(count("find-init"), 3);
  t.is(count("attribute"), isRead.attributes);
});

test("a private key that does not sign leads to the next one", async (t) => {
  const words = ["keys=2", "id=a", "id-2=a", "no-public=2", "reversed", "no-label", "refuses=2"];
  const { outcomes, signatures, leftOut } = await signAll(t, ...words);
  t.deepEqual(outcomes, ["signed", "signed"]);
  t.is(signatures, 2);
  t.deepEqual(leftOut, []);
});

test("a key whose private key refuses to sign is reported as such, each time", async (t) => {
  const { module, provider } = await loaded(t, ["refuses"]);
  t.is(await sign(provider), "unsupported");
  t.is(await sign(provider), "unsupported");
  module.behave();
  t.is(await sign(provider), "signed");
});

test("the user is asked for one PIN, however many private keys are tried", async (t) => {
  const words = ["login", "always-authenticate", "keys=3", ...sameIds, ...sameLabels, "reversed"];
  const { module, provider } = await loaded(t, words);
  let asked = 0;
  const askPin = async () => {
    asked++;
    return pinOf(hostilePin);
  };
  t.is(await sign(provider, { ...noUser, askPin }), "signed");
  t.is(asked, 1);
  t.is(module.calls().filter((call) => call === "sign").length, 3);
});

test("private keys that are other keys' by their IDs are tried once IDs are seen to be mixed up", async (t) => {
  const words = ["keys=3", "private-id=\\x2b", "private-id-2=\\x2a", "no-label"];
  const { provider, outcomes, signatures } = await signAll(t, ...words);
  t.is(provider.keys.length, 3);
  t.deepEqual(new Set(outcomes), new Set(["signed"]));
  t.is(signatures, 7);
});

test("signatures with several keys at once find their private keys", async (t) => {
  const words = ["keys=8", "no-id", "no-label", "reversed"];
  const { provider } = await loaded(t, words);
  const all = [...provider.keys.keys(), ...provider.keys.keys()];
  const outcomes = await Promise.all(all.map((at) => signOnce(provider, at)));
  t.deepEqual(new Set(outcomes), new Set(["signed"]));
});

test("a private key that cannot be read while it is searched is not taken to be gone", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("epoch=2", "attribute-error=0x30");
  t.is(await sign(provider), "module-crashed");
  module.behave("epoch=2");
  t.is(await sign(provider), "signed");
});

for (const words of [[], ["ignored-templates"], ["refused-templates"]]) {
  test(`a private key is searched by its ID: ${words[0] ?? "searches work"}`, async (t) => {
    const { module, provider } = await loaded(t, ["keys=8", ...words]);
    module.behave("keys=8", ...words, "epoch=2", "record-searches");
    const before = module.calls().length;
    t.is(await signOnce(provider, 7), "signed");
    const calls = module.calls().slice(before);
    const count = (name: string) => calls.filter((call) => call === name).length;
    t.is(count("find-init"), words.includes("refused-templates") ? 2 : 1);
    t.is(count("attribute"), words.length === 0 ? 2 : 16);
  });
}
