/** One YubiKey that two libraries show. */
import test from "ava";
import { openscLibrary, ykcs11Library } from "../../fixtures/system-programs.ts";
import { makeYubiKey, startCardReader } from "../../fixtures/virtual-yubikey/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { startAgent } from "../test-agent.ts";
import { signs } from "./test-cards.ts";

const pin = "123456";

test("the library that was given the PIN last signs", async (t) => {
  const card = await makeYubiKey({ pin, keys: [{ slot: "9a", type: "p256" }] });
  const reader = await startCardReader(makeWorkspace(t), { cards: [card] });
  const agent = await startAgent(t, { cardEnvironment: reader.env });
  const client = await agent.connect();
  const libraries = [ykcs11Library(), openscLibrary()];
  for (const library of libraries) await client.addSmartcardKey(library, Buffer.from(pin));
  t.true(await signs(client));
  for (const library of libraries) {
    await reader.eject();
    await reader.insert(card);
    await client.addSmartcardKey(library, Buffer.from(pin));
    for (let at = 0; at < 3; at++) t.true(await signs(client), library);
  }
  t.is(card.verifications.failed, 0);
});
