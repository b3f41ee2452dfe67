import test from "ava";
import {
  makeYubiKey,
  resetByAnotherProgram,
  selectOtherApplication,
} from "../../fixtures/virtual-yubikey/index.ts";
import { refused } from "./test-hostile.ts";
import { person } from "./test-person.ts";
import { nobody, stateOf } from "./test-registry.ts";
import {
  type CardInUse,
  cardInUse,
  cardPin,
  keyIn,
  libraryNames,
  signWith,
} from "./test-yubikey.ts";

// Each of these tests has a pcscd of its own: one after another, so that none waits for long.

/** What may happen to a card between two signatures. */
const events: Readonly<Record<string, (used: CardInUse) => Promise<void> | void>> = {
  async "was pulled out and put back"({ card, reader }) {
    await reader.eject();
    await reader.insert(card);
  },
  "was reset by another program": ({ reader, workspace }) =>
    resetByAnotherProgram(workspace, reader),
  "was used for something else": ({ reader, workspace }) =>
    selectOtherApplication(workspace, reader),
  "was without power": ({ card }) => card.powerOff(),
  async "was without pcscd"({ reader }) {
    await reader.stop();
    await reader.start();
  },
};

const slots = ["9a", "9c", "9e"];
const card = { keys: slots.map((slot) => ({ slot, type: "p256" }) as const) };

for (const name of libraryNames) {
  for (const [what, happen] of Object.entries(events)) {
    test.serial(`${name}: a card that ${what} signs again, with one question`, async (t) => {
      const used = await cardInUse(t, name, { card });
      for (const isLookedAt of [false, true]) {
        await happen(used);
        if (isLookedAt) await stateOf(used.provider);
        const { asked, holder } = person(cardPin);
        for (let at = 0; at < 3; at++) t.is(await signWith(used, "9a", holder), "signed");
        t.true(asked.length <= 1); // the libraries spare some
        t.is(await stateOf(used.provider), "ready");
      }
      t.is(used.card.verifications.failed, 0);
    });

    test.serial(`${name}: a card that ${what} signs again with the PIN that is kept`, async (t) => {
      const used = await cardInUse(t, name, { card, keepPin: 3600 });
      for (const slot of slots) {
        await happen(used);
        for (let at = 0; at < 2; at++) t.is(await signWith(used, slot), "signed", slot);
        t.is(await stateOf(used.provider), "ready");
      }
      t.is(used.card.verifications.failed, 0);
    });

    test.serial(`${name}: a card that ${what} signs again when it asks each time`, async (t) => {
      const used = await cardInUse(t, name, { card });
      const { asked, holder } = person(cardPin);
      t.is(await signWith(used, "9c", holder), "signed");
      await happen(used);
      for (let at = 0; at < 2; at++) t.is(await signWith(used, "9c", holder), "signed");
      t.is(asked.length, 3);
      t.is(used.card.verifications.failed, 0);
    });
  }

  test.serial(`${name}: while a card is out, nobody is asked for its PIN`, async (t) => {
    for (const keepPin of [0, 3600]) {
      const used = await cardInUse(t, name, { card, keepPin });
      t.is(await stateOf(used.provider), "ready");
      await used.reader.eject();
      const { asked, holder } = person(cardPin);
      for (const slot of [...slots, ...slots]) {
        t.is(await signWith(used, slot, holder), "token-removed", slot);
        t.is(await stateOf(used.provider), "card-absent");
      }
      t.is(asked.length, 0);
      await used.reader.insert(used.card);
      t.is(await stateOf(used.provider), keepPin > 0 ? "ready" : "pin-needed");
      for (const slot of slots) t.is(await signWith(used, slot, holder), "signed");
      t.is(used.card.verifications.failed, 0);
    }
  });

  test.serial(`${name}: when another card is in its place, that one's PIN is safe`, async (t) => {
    for (const keepPin of [0, 3600]) {
      for (const isLookedAt of [false, true]) {
        const used = await cardInUse(t, name, { card, keepPin });
        const other = await makeYubiKey({ ...card, pin: "654321" });
        await used.reader.insert(other);
        if (isLookedAt) t.is(await stateOf(used.provider), "card-absent");
        const { asked, holder } = person(cardPin);
        for (const slot of slots) t.is(await signWith(used, slot, holder), "token-removed", slot);
        t.is(await stateOf(used.provider), "card-absent");
        t.is(asked.length, 0);
        t.is(other.verifications.given, 0);
        await used.reader.insert(used.card);
        for (const slot of slots) t.is(await signWith(used, slot, holder), "signed", slot);
        t.is(used.card.verifications.failed, 0);
      }
    }
  });

  test.serial(`${name}: while pcscd does not run, nobody is asked for a PIN`, async (t) => {
    const used = await cardInUse(t, name, { card, keepPin: 3600 });
    await used.reader.stop();
    const { asked, holder } = person(cardPin);
    // The one library says that it fails, the other one that it sees no token.
    const isTold = name === "ykcs11";
    for (const slot of slots) {
      const code = isTold ? "module-crashed" : "token-removed";
      t.is(await signWith(used, slot, holder), code, slot);
      t.is(await stateOf(used.provider), isTold ? "module-failed" : "card-absent");
    }
    const { keyBlob } = keyIn(used.provider, used.card, "9a");
    const data = Buffer.from("data");
    const failure = await refused(
      t,
      used.provider.sign(keyBlob, "ecdsa-sha2-nistp256", data, holder),
    );
    t.regex(failure.hint, isTold ? /whether pcscd runs/ : /Insert the card/);
    t.is(asked.length, 0);
    await used.reader.start();
    for (const slot of slots) t.is(await signWith(used, slot, nobody), "signed", slot);
    t.is(used.card.verifications.failed, 0);
  });
}

test.serial(
  "opensc: a card that was put back before its first login is asked for once",
  async (t) => {
    const used = await cardInUse(t, "opensc", { card, pin: "" });
    const { asked, holder } = person(cardPin);
    await used.reader.eject();
    await used.reader.insert(used.card);
    for (let at = 0; at < 2; at++) t.is(await signWith(used, "9a", holder), "signed");
    t.is(asked.length, 1);
    t.deepEqual(used.card.verifications, { given: 1, failed: 0 });
  },
);

for (const name of libraryNames) {
  test.serial(
    `${name}: after a wrong PIN and a while without pcscd, one question is enough`,
    async (t) => {
      const used = await cardInUse(t, name, { card });
      const { asked, holder } = person("000000", cardPin);
      await used.reader.eject();
      await used.reader.insert(used.card);
      t.is(await signWith(used, "9a", holder), "pin-incorrect");
      await used.reader.stop();
      await used.reader.start();
      t.is(await signWith(used, "9a", holder), "signed");
      t.is(asked.length, 2);
      t.is(used.card.verifications.failed, 1);
    },
  );
}

test.serial(
  "opensc: after a wrong PIN, one is not tried again for a card that was put back",
  async (t) => {
    const used = await cardInUse(t, "opensc", { card, pin: "" });
    const { holder } = person("000000", cardPin);
    t.is(await signWith(used, "9a", holder), "pin-incorrect");
    await used.reader.eject();
    await used.reader.insert(used.card);
    const outcomes = [await signWith(used, "9a", holder), await signWith(used, "9a", holder)];
    t.is(outcomes.at(-1), "signed");
    t.deepEqual(used.card.verifications, { given: 2, failed: 1 });
  },
);

test.serial("opensc: a key that wants no PIN signs without, whatever happened", async (t) => {
  const used = await cardInUse(t, "opensc", { card, pin: "" });
  for (const happen of Object.values(events)) {
    await happen(used);
    t.is(await signWith(used, "9e"), "signed");
    t.is(await stateOf(used.provider), "pin-needed"); // for the others
  }
  t.is(used.card.verifications.given, 0);
});
