/** Private keys whose CKA_SIGN is false. */
import test from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { loaded, logins, prepare, refused, sign } from "./test-hostile.ts";
import { pinOf } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";
import { cardPin, insertedCard } from "./test-yubikey.ts";

const signsAnyway = ["no-sign", "signs-anyway"];

test("a key that may not sign is listed if it is all that is left, and signs", async (t) => {
  const { provider } = await loaded(t, signsAnyway);
  t.is(provider.keys.length, 1);
  t.is(await sign(provider), "signed");
});

test("it is tried after a login, with the PIN that the token has accepted", async (t) => {
  for (const faults of [[], ["always-authenticate"]]) {
    const words = [...signsAnyway, ...faults, "login", "tries=3"];
    const { module, registry } = await prepare(t, words);
    const provider = await registry.add(module.path, pinOf(hostilePin));
    t.is(provider.keys.length, 1);
    t.is(await sign(provider, makeUser(hostilePin).interaction), "signed");
    t.is(module.wrongPins(), 0);
  }
});

test("it is left out if it does not sign, and if another key does", async (t) => {
  const { module, registry } = await prepare(t, ["no-sign", "login"]);
  const { code, message } = await refused(t, registry.add(module.path, pinOf(hostilePin)));
  t.is(code, "no-usable-key");
  t.regex(message, /may not sign/);
  t.is(logins(module).length, 1);
  module.behave("no-sign", "signs-anyway", "garbage-signature");
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "no-usable-key");
  const before = module.calls().filter((call) => call === "sign").length;
  module.behave("keys=3", "no-sign=2", "signs-anyway");
  t.is((await registry.add(module.path, pinOf(""))).keys.length, 2);
  t.is(module.calls().filter((call) => call === "sign").length, before);
});

test("a URI that selects nothing else has it tried", async (t) => {
  const { module, registry } = await prepare(t, ["keys=3", "no-sign=2", "signs-anyway"]);
  const uri = `pkcs11:object=two?module-path=${module.path}`;
  const provider = await registry.add(uri, pinOf(""));
  t.is(provider.keys.length, 1);
  t.is(await sign(provider), "signed");
});

test("a key that was hidden before the login is tried", async (t) => {
  for (const [words, outcome] of [
    [signsAnyway, "signed"],
    [["no-sign"], "unsupported"],
  ] as const) {
    const { module, registry } = await prepare(t, ["login", ...words]);
    const provider = await registry.add(module.path, pinOf(""));
    const { interaction } = makeUser(hostilePin);
    t.is(await sign(provider, interaction), outcome);
    t.is(await sign(provider), outcome);
  }
});

test("the attestation key of a YubiKey without other keys is tried, and not listed", async (t) => {
  const card = { keys: [{ slot: "f9", type: "p256" as const }] };
  const used = await insertedCard(t, "ykcs11", { card });
  const { code, message } = await refused(t, used.registry.add(used.library, pinOf(cardPin)));
  t.is(code, "no-usable-key");
  t.regex(message, /Attestation", ID 19 \(may not sign\)/);
  t.is(used.card.pinTriesLeft, 3);
});
