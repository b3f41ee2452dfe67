import test from "ava";
import { refused } from "../test-agent.ts";
import { blobs, load, noPin, prepare, signs } from "./test-cards.ts";

test("a URI loads one token or one key, beside others of the same library", async (t) => {
  const { one, client } = await prepare(t, ["tokens=2", "keys=2", "label=key"]);
  const uri = (choice: string) => `pkcs11:${choice}?module-path=${one.path}`;
  one.behave("tokens=2", "keys=2", "token-label=first", "token-label-2=second");
  await client.addSmartcardKey(uri("token=second"), noPin);
  t.is((await blobs(client)).length, 2);
  t.true(await signs(client, 1));
  await client.addSmartcardKey(uri("token=first;object=one"), noPin);
  t.is((await blobs(client)).length, 3);
  t.true(await signs(client, 2));
  const listed = await client.listProviders();
  t.deepEqual(
    listed.map(({ path, tokens }) => [path, tokens.map(({ label }) => label)]),
    [
      [uri("token=second"), ["second"]],
      [uri("token=first;object=one"), ["first"]],
    ],
  );
  await client.removeSmartcardKey(uri("token=second"));
  t.is((await blobs(client)).length, 1);
  await client.addSmartcardKey(one.path, noPin);
  t.is((await blobs(client)).length, 4);
  await client.removeSmartcardKey(one.path);
  t.is((await client.listProviders()).length, 0);
});

test("a URI removes what it matches from any provider", async (t) => {
  const { one, two, client } = await prepare(t, ["tokens=2", "keys=2"]);
  for (const module of [one, two]) {
    module.behave("tokens=2", "keys=2", "token-label=first", "token-label-2=second");
  }
  await load(client, one, two);
  t.is((await blobs(client)).length, 4);
  await client.removeSmartcardKey(`pkcs11:token=first?module-path=${one.path}`);
  t.is((await blobs(client)).length, 4); // the other library shows them, too
  t.is((await client.listProviders())[0]?.identities.length, 2);
  await client.removeSmartcardKey("pkcs11:token=first");
  t.is((await blobs(client)).length, 2);
  t.true(await signs(client));
  await client.removeSmartcardKey("pkcs11:token=second");
  t.deepEqual(await client.listProviders(), []);
  await t.throwsAsync(client.removeSmartcardKey("pkcs11:token=second"), refused);
  const reason = await client.failureReason();
  t.is(reason?.code, "not-loaded");
  t.is(reason?.sentence, "Nothing is loaded that pkcs11:token=second matches.");
});

test("a URI without a match is refused with the tokens that there are", async (t) => {
  const { one, client } = await prepare(t);
  one.behave("tokens=2", "token-label=first", "token-label-2=second");
  const why = async (choice: string) => {
    const uri = `pkcs11:${choice}?module-path=${one.path}`;
    await t.throwsAsync(client.addSmartcardKey(uri, noPin), refused);
    return client.failureReason();
  };
  const { sentence, hint } = (await why("token=third")) ?? {};
  t.regex(sentence ?? "", /sees no token that the PKCS#11 URI matches\.$/);
  t.is(hint, 'The tokens that it sees are "first" (serial 1), "second" (serial 2).');
  const { sentence: other, hint: next } = (await why("token=first;object=none")) ?? {};
  t.is(other, 'The token "first" has no signing key that the PKCS#11 URI matches.');
  t.regex(next ?? "", /^Leave out object and id /);
});

test("a URI that matches nothing, or holds a PIN, is refused with its reason", async (t) => {
  const { one, client } = await prepare(t);
  for (const [uri, code] of [
    [`pkcs11:token=none?module-path=${one.path}`, "no-token"],
    [`pkcs11:object=none?module-path=${one.path}`, "no-usable-key"],
    [`pkcs11:?module-path=${one.path}&pin-value=1234`, "malformed"],
    [`pkcs11:?module-path=${one.path}&pin-source=/etc/pin`, "malformed"],
    ["pkcs11:?module-path=/nowhere.so", "no-such-file"],
    ["pkcs11:?module-name=nowhere-at-all", "no-such-file"],
    ["pkcs11:nonsense", "malformed"],
    [`pkcs11:token=${"x".repeat(20_000)}`, "malformed"],
  ] as const) {
    await t.throwsAsync(client.addSmartcardKey(uri, noPin), refused);
    t.is((await client.failureReason())?.code, code, uri.slice(0, 80));
  }
  t.deepEqual(await client.listProviders(), []);
});
