/**
 * Cards that were loaded without their PIN: their private keys are visible only after the login.
 */
import test, { type ExecutionContext } from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import type { UserInteraction } from "../signer.ts";
import { prepare, refused, sign } from "./test-hostile.ts";
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

test("a key found to be for other uses is reported as such", async (t) => {
  const { provider, interaction, asked } = await hidden(t, "no-sign");
  t.is(await sign(provider, interaction), "unsupported");
  t.is(await sign(provider, interaction), "unsupported");
  t.is(asked.length, 1);
});
