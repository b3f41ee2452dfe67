/** A card whose PIN another program has changed, while libraries know the old one. */
import test, { type ExecutionContext } from "ava";
import { openscLibrary, ykcs11Library, yubicoPivTool } from "../../fixtures/system-programs.ts";
import { makeYubiKey, startCardReader } from "../../fixtures/virtual-yubikey/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { UserInteraction } from "../signer.ts";
import { refused, sign } from "./test-hostile.ts";
import { makeRegistry, noUser, pinOf, stateOf } from "./test-registry.ts";

/** A card that has signed, and whose PIN another program has changed since. */
async function changed(t: ExecutionContext, library: string, keepPin = 0) {
  const workspace = makeWorkspace(t);
  const card = await makeYubiKey({ keys: [{ slot: "9a", type: "p256" }] });
  const { env } = await startCardReader(workspace, { cards: [card] });
  const provider = await makeRegistry(t, { env, keepPin }).add(library, pinOf("123456"));
  t.is(await sign(provider), "signed");
  const tool = (args: string, ...lines: string[]) =>
    workspace.run(yubicoPivTool(), ["--stdin-input", ...args.split(" ")], {
      env,
      input: `${lines.join("\n")}\n`,
      timeoutMs: 20_000,
    });
  t.is((await tool("-a change-pin", "123456", "654321", "654321")).status, 0);
  const asked: boolean[] = [];
  const interaction: UserInteraction = {
    ...noUser,
    async askPin(question) {
      asked.push(question.startsWith("One try is left"));
      return pinOf("654321");
    },
  };
  return { card, provider, tool, interaction, asked };
}

for (const [name, library, isLastTry] of [
  ["libykcs11", ykcs11Library, false],
  // The library hides that it has tried a wrong PIN, so the cached PIN is tried next.
  ["opensc-pkcs11", openscLibrary, true],
] as const) {
  test.serial(`${name} leaves the card to other programs`, async (t) => {
    const { provider, tool, interaction, card } = await changed(t, library());
    t.is(await sign(provider), "pin-required");
    t.is((await tool("-a status")).status, 0);
    t.is(card.pinTriesLeft, 2);
    t.is(await sign(provider, interaction), "signed");
    t.is((await tool("-a status")).status, 0);
    t.is(card.pinTriesLeft, 3);
  });

  test.serial(`${name} with the old PIN cached asks for the new one`, async (t) => {
    const { provider, interaction, asked, card } = await changed(t, library(), 3600);
    const keyBlob = provider.keys[0]?.keyBlob ?? Buffer.alloc(0);
    const signing = provider.sign(keyBlob, "ecdsa-sha2-nistp256", Buffer.of(1), noUser);
    const { code, message } = await refused(t, signing);
    t.is(code, "pin-required");
    t.is(message.includes("one try is left"), isLastTry);
    t.is(await stateOf(provider), "pin-needed");
    t.true(card.pinTriesLeft > 0);
    t.is(await sign(provider, interaction), "signed");
    t.is(asked.length, 1);
    card.powerOff();
    t.is(await sign(provider), "signed");
  });

  test.serial(`${name} leaves a card to other programs that is locked`, async (t) => {
    const { provider, tool, card } = await changed(t, library());
    for (let tries = 3; tries > 0; tries--) await tool("-a verify-pin", "000000");
    t.is(card.pinTriesLeft, 0);
    t.is(await sign(provider), "pin-locked");
    t.is((await tool("-a unblock-pin", "12345678", "111222", "111222")).status, 0);
  });
}
