/**
 * Cards that were loaded without their PIN: their private keys are visible only after the login.
 */
import test, { type ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import type { UserInteraction } from "../signer.ts";
import type { Provider } from "./provider.ts";
import { prepare, refused, sign, signOnce } from "./test-hostile.ts";
import { noUser, pinOf } from "./test-registry.ts";

/** A card that was loaded without its PIN, and a user who knows it. */
async function hidden(t: ExecutionContext, ...words: string[]) {
  const { module, registry } = await prepare(t, ["login", ...words]);
  const provider = await registry.add(module.path, pinOf(""));
  const asked: string[] = [];
  const interaction: UserInteraction = {
    ...noUser,
    async askPin(question) {
      asked.push(question);
      return pinOf(hostilePin);
    },
  };
  return { module, provider, interaction, asked };
}

test("one prompt serves all keys", async (t) => {
  const { provider, interaction, asked } = await hidden(t);
  t.is(await sign(provider), "pin-required");
  const results = await Promise.all(Array.from({ length: 4 }, () => sign(provider, interaction)));
  t.deepEqual(new Set(results), new Set(["signed"]));
  t.is(await sign(provider), "signed");
  t.is(asked.length, 1);
});

test("a key found to need its PIN each time gets the PIN of the prompt", async (t) => {
  const { provider, interaction, asked } = await hidden(t, "always-authenticate");
  t.is(await sign(provider, interaction), "signed");
  t.is(asked.length, 1);
  const results = await Promise.all(Array.from({ length: 3 }, () => sign(provider, interaction)));
  t.deepEqual(new Set(results), new Set(["signed"]));
  t.is(asked.length, 4);
  const [key] = provider.keys;
  const signature = provider.sign(
    key?.keyBlob ?? Buffer.alloc(0),
    "ecdsa-sha2-nistp256",
    Buffer.from("data"),
    noUser,
  );
  t.regex((await refused(t, signature)).message, /asks for its PIN at each signature/);
});

test("keys without a private key are removed after the first login", async (t) => {
  const words = ["keys=3", "no-private=2", "no-public=3", "certificate=3"];
  const { provider, interaction } = await hidden(t, ...words);
  const removed: string[] = [];
  provider.onMissing = (keys) => removed.push(...keys.map(({ label }) => label));
  t.deepEqual(labels(provider), ["one", "two", "three"]);
  t.is(await sign(provider, interaction), "signed");
  t.true(await eventually(() => removed.length > 0));
  t.deepEqual(removed, ["two"]);
  t.deepEqual(labels(provider), ["one", "three"]);
  t.deepEqual(provider.leftOut.at(-1), {
    object: 'public key "two", ID 2b',
    reason: "no private key",
    token: 0,
  });
  t.is(await signOnce(provider, 1), "signed");
});

test("no key is taken to be missing while its private key cannot be read", async (t) => {
  const words = ["keys=2", "attribute-key=2", "attribute-type=0x100", "unavailable=0x30"];
  const { provider, module, interaction } = await hidden(t, "keys=2");
  const sought = () => module.calls().includes("find-init");
  module.behave("login", ...words, "record-searches");
  t.is(await sign(provider, interaction), "signed");
  t.true(await eventually(sought));
  module.behave("login", "keys=2");
  t.is(await signOnce(provider, 1), "signed");
  t.deepEqual(labels(provider), ["one", "two"]);
});

function labels({ keys }: Provider): string[] {
  return keys.map(({ label }) => label);
}

test("a key found to be for other uses is reported as such", async (t) => {
  const { provider, interaction, asked } = await hidden(t, "no-sign");
  t.is(await sign(provider, interaction), "unsupported");
  t.is(await sign(provider, interaction), "unsupported");
  t.is(asked.length, 1);
});
