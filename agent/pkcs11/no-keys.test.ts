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
  [
    "is empty",
    ["keyless"],
    /The token "hostile" has no key that signs: it shows no keys and no certificates\./,
  ],
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

test("a token without a key that signs is reported with what it has instead", async (t) => {
  const { module, registry } = await prepare(t, []);
  for (const [words, seen] of [
    [["keyless"], "it shows no keys and no certificates"],
    [["keyless", "data-objects=2"], "it shows no keys and no certificates, only 2 data objects"],
    [["no-sign"], 'but: public key "one", ID 2a (may not sign)'],
    [
      ["keyless", "objects=3"],
      "but: public key (key type not used by SSH); public key (key type not used by SSH); public key (key type not used by SSH); certificate (no certificate in it); 5 more",
    ],
  ] as const) {
    module.behave(...words);
    const { code, message } = await refused(t, registry.add(module.path, pinOf("")));
    t.is(code, "no-usable-key");
    t.is(
      message,
      `The token "hostile" has no key that signs${seen[0] === "b" ? "," : ":"} ${seen}.`,
    );
  }
});

test("where something is, nobody is told to make a key", async (t) => {
  for (const words of [
    ["no-sign"],
    ["keyless", "objects=1"],
    ["uninitialized", "no-sign"],
    ["uninitialized", "keyless", "data-objects=1"],
  ]) {
    const { module, registry } = await prepare(t, words);
    const { hint } = await refused(t, registry.add(module.path, pinOf("")));
    t.notRegex(hint, /make|generate|initialize/i);
    t.true(!/create/.test(hint) || hint.includes("If it holds none"));
  }
});

test("a key that may not sign is named when a URI asks for it", async (t) => {
  const { module, registry } = await prepare(t, ["keys=2", "no-sign=1"]);
  const uri = `pkcs11:object=one?module-path=${module.path}`;
  const { message } = await refused(t, registry.add(uri, pinOf("")));
  t.regex(message, /URI matches; left out: public key "one", ID 2a \(may not sign\)\.$/);
});

test("a token that hides its keys without asking for a login gets the PIN", async (t) => {
  const words = ["login", "no-login-flag", "sessions=1"];
  const { module, registry } = await prepare(t, words);
  t.is(await sign(await registry.add(module.path, pinOf(hostilePin))), "signed");
  const { code } = await refused(t, registry.add(module.path, pinOf("0000")));
  t.is(code, "pin-incorrect");
  const provider = await registry.add(module.path, pinOf(""));
  t.is(provider.keys.length, 1);
  t.is(await sign(provider), "pin-required");
});

test("a token with a PIN and without any key is not said to ask for it", async (t) => {
  const words = ["login", "no-login-flag", "keyless"];
  const { module, registry } = await prepare(t, words);
  for (const pin of ["", hostilePin]) {
    const { code, message } = await refused(t, registry.add(module.path, pinOf(pin)));
    t.is(code, "no-usable-key");
    t.regex(message, /shows no keys and no certificates/);
  }
  t.is(logins(module).length, 1);
});
