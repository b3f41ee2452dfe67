/** Which token is the same one again, and how tokens are named. */
import { writeFileSync } from "node:fs";
import test from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import type { UserInteraction } from "../signer.ts";
import { PinPromptBackoff } from "./pin-prompt.ts";
import { loaded, logins, prepare, refused, sign, signOnce } from "./test-hostile.ts";
import { noUser, pinOf, stateOf } from "./test-registry.ts";

/** A user who answers each prompt, or cancels it. */
function makeUser(pin?: string) {
  const asked: string[] = [];
  const interaction: UserInteraction = {
    ...noUser,
    pinBackoff: new PinPromptBackoff({ now: () => 0, after: () => () => {} }),
    async askPin(question) {
      asked.push(question);
      return pin === undefined ? undefined : pinOf(pin);
    },
  };
  return { asked, interaction };
}

test("a token with another label and the same serial number is the same token", async (t) => {
  const { module, provider } = await loaded(t, ["login"], { keepPin: 3600 });
  for (const [place, slot] of ["7", "9"].entries()) {
    module.behave("login", `epoch=${place + 2}`, `slot=${slot}`, `token-label=new ${place}`);
    t.is(await stateOf(provider), "ready", slot);
    t.is(await sign(provider), "signed", slot);
  }
  t.is(logins(module).length, 3);
});

for (const [what, ...names] of [
  ["no serial number", "serial="],
  ["a serial number of zeros", "serial=0000000000000000"],
  ["a serial number of ones", "serial=ffffffffffffffff"],
] as const) {
  test(`a token with ${what} is known by its label`, async (t) => {
    const { module, provider } = await loaded(t, [...names]);
    module.behave(...names, "epoch=2", "slot=9");
    t.is(await sign(provider), "signed");
    module.behave(...names, "epoch=3", "token-label=another");
    t.is(await stateOf(provider), "card-absent");
    t.is(await sign(provider), "token-removed");
  });
}

test("tokens that share a serial number are known by their labels", async (t) => {
  const words = ["tokens=2", "serial=77", "serial-2=77", "login", "pin-2=5678"];
  const { module, registry } = await prepare(t, words, { keepPin: 3600 });
  const uri = `pkcs11:token=hostile%202?module-path=${module.path}`;
  const provider = await registry.add(uri, pinOf("5678"));
  t.is(await sign(provider), "signed");
  const before = logins(module).length;
  // The slots have moved: the first token, with another PIN, is in the second one's slot.
  module.behave(...words, "epoch=2", "slot=8", "absent=2");
  t.is(await sign(provider), "token-removed");
  t.is(logins(module).length, before, "the other token is not sent the PIN");
});

test("a cancelled prompt for one of two tokens with one serial number leaves the other", async (t) => {
  const words = ["tokens=2", "serial=77", "serial-2=77", "login"];
  const { module, registry } = await prepare(t, words);
  const provider = await registry.add(module.path, pinOf(""));
  const { asked, interaction } = makeUser();
  t.is(await signOnce(provider, 0, interaction), "pin-required");
  t.is(await signOnce(provider, 0, interaction), "pin-required");
  t.is(asked.length, 1);
  t.is(await signOnce(provider, 1, interaction), "pin-required");
  t.is(asked.length, 2);
});

test("a cancelled prompt counts for a token that is loaded again under another label", async (t) => {
  const { module, registry } = await prepare(t, ["login"]);
  const { asked, interaction } = makeUser();
  t.is(await sign(await registry.add(module.path, pinOf("")), interaction), "pin-required");
  module.behave("login", "token-label=renamed");
  t.is(await sign(await registry.add(module.path, pinOf("")), interaction), "pin-required");
  t.is(asked.length, 1);
});

test("a token without label and serial number has its slot's description as its name", async (t) => {
  const words = ["token-label=", "serial=", "login"];
  const { module, registry } = await prepare(t, [...words, "slot-description=Reader 3"]);
  const provider = await registry.add(module.path, pinOf(""));
  t.is(provider.tokens[0]?.label, "Reader 3");
  const { asked, interaction } = makeUser(hostilePin);
  t.is(await sign(provider, interaction), "signed");
  t.regex(asked[0] ?? "", /PIN for token Reader 3 to use/);
  module.behave(...words, "slot-description=Reader 4", "epoch=2", "slot=9", "locked");
  const refusal = await refused(t, registry.add(module.path, pinOf("0000")));
  t.regex(refusal.message, /token "Reader 4" is locked/);
  t.is(await sign(provider, interaction), "pin-locked");
});

test("a token and a slot without any name are known by the slot's number", async (t) => {
  const words = ["token-label=", "serial=", "slot-info-error=0x30"];
  const { provider, module } = await loaded(t, words);
  t.is(provider.tokens[0]?.label, "slot 7");
  module.behave(...words, "epoch=2");
  t.is(await sign(provider), "signed");
});

test("tokens that a URI does not match are listed with what distinguishes them", async (t) => {
  const names = ["token-label=", "serial=", "serial-2=", "slot-description=Reader"];
  const { module, registry } = await prepare(t, ["tokens=3", ...names]);
  const uri = `pkcs11:token=none?module-path=${module.path}`;
  const { hint } = await refused(t, registry.add(uri, pinOf("")));
  t.regex(hint, /are "Reader", "hostile 2", "hostile 3" \(serial 3\)\.$/);
});

test("the URI for one of two tokens with one serial number has its label", async (t) => {
  const words = ["tokens=2", "serial=77", "serial-2=77", "login", "tries=3"];
  const { module, registry } = await prepare(t, words);
  for (const suffix of ["", "-2"]) writeFileSync(`${module.path}.tries${suffix}`, "2\n");
  const { hint } = await refused(t, registry.add(module.path, pinOf("0000")));
  t.true(
    hint.endsWith(`ssh-add -s 'pkcs11:token=hostile;serial=77?module-path=${module.path}'`),
    hint,
  );
});
