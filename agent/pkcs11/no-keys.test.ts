/** Tokens without a key to use: what is said about them is true, and following it does no harm. */
import test from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { loaded, logins, prepare, refused, sign } from "./test-hostile.ts";
import { pinOf } from "./test-registry.ts";

test("a token that claims to be uninitialized and holds a key is used", async (t) => {
  const { provider, module } = await loaded(t, ["uninitialized", "login"]);
  t.is(await sign(provider), "signed");
  module.behave("uninitialized", "login", "epoch=2");
  t.is(await sign(provider), "pin-required");
});

test("a token that claims to be uninitialized is asked for its PIN like any other", async (t) => {
  const { module, registry } = await prepare(t, ["uninitialized", "login", "tries=3"]);
  const { code } = await refused(t, registry.add(module.path, pinOf("0000")));
  t.is(code, "pin-incorrect");
  t.is(module.wrongPins(), 1);
});

test("a token that claims to be uninitialized is left alone beside another", async (t) => {
  const words = ["tokens=2", "uninitialized=2", "login", "pin-2=5678"];
  const { module, registry } = await prepare(t, words);
  const provider = await registry.add(module.path, pinOf(hostilePin));
  t.is(provider.tokens.length, 1);
  t.is(logins(module).length, 1);
  const uri = `pkcs11:serial=2?module-path=${module.path}`;
  t.is(await sign(await registry.add(uri, pinOf("5678"))), "signed");
});

for (const [what, words, seen] of [
  ["is empty", ["keyless"], /The token "hostile" has no key that signs\./],
  ["opens no session", ["open-error=0xe1"], /"hostile" opens no session \(CKR_TOKEN_NOT_REC/],
] as const) {
  test(`an uninitialized token that ${what} is reported with that`, async (t) => {
    const { module, registry } = await prepare(t, ["uninitialized", ...words]);
    const { code, message, hint } = await refused(t, registry.add(module.path, pinOf("")));
    t.is(code, "no-token");
    t.regex(message, /sees no initialized token\. /);
    t.regex(message, seen);
    t.regex(hint, /If the token is new, initialize it .* that erases what it holds\.$/);
  });
}

test("nobody is told to make a key where one may be hidden", async (t) => {
  const { module, registry } = await prepare(t, ["keyless"]);
  const { code, hint } = await refused(t, registry.add(module.path, pinOf("")));
  t.is(code, "no-usable-key");
  t.regex(hint, /^Look with the vendor.s tool whether it holds one/);
});
