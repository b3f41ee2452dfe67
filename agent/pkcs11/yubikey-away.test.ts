import test from "ava";
import {
  makeYubiKey,
  resetByAnotherProgram,
  selectOtherApplication,
} from "../../fixtures/virtual-yubikey/index.ts";
import { refused } from "./test-hostile.ts";
import { noUser, stateOf } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";
import {
  type CardInUse,
  cardInUse,
  cardPin,
  keyIn,
  libraryNames,
  signWith,
} from "./test-yubikey.ts";

// Each of these tests has a pcscd of its own: one after another, so that none waits for long.

/** Events at a card between two signatures. */
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
    test.serial(`${name}: a card that ${what} signs again, with one prompt`, async (t) => {
      const used = await cardInUse(t, name, { card });
      for (const isLookedAt of [false, true]) {
        await happen(used);
        if (isLookedAt) await stateOf(used.provider);
        const { asked, interaction } = makeUser(cardPin);
        for (let at = 0; at < 3; at++) t.is(await signWith(used, "9a", interaction), "signed");
        t.true(asked.length <= 1); // the libraries spare some
        t.is(await stateOf(used.provider), "ready");
      }
      t.is(used.card.verifications.failed, 0);
    });

    test.serial(`${name}: a card that ${what} signs again with the cached PIN`, async (t) => {
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
      const { asked, interaction } = makeUser(cardPin);
      t.is(await signWith(used, "9c", interaction), "signed");
      await happen(used);
      for (let at = 0; at < 2; at++) t.is(await signWith(used, "9c", interaction), "signed");
      t.is(asked.length, 3);
      t.is(used.card.verifications.failed, 0);
    });
  }

  test.serial(`${name}: while a card is out, there is no prompt for its PIN`, async (t) => {
    for (const keepPin of [0, 3600]) {
      const used = await cardInUse(t, name, { card, keepPin });
      t.is(await stateOf(used.provider), "ready");
      await used.reader.eject();
      const { asked, interaction } = makeUser(cardPin);
      for (const slot of [...slots, ...slots]) {
        t.is(await signWith(used, slot, interaction), "token-removed", slot);
        t.is(await stateOf(used.provider), "card-absent");
      }
      t.is(asked.length, 0);
      await used.reader.insert(used.card);
      t.is(await stateOf(used.provider), keepPin > 0 ? "ready" : "pin-needed");
      for (const slot of slots) t.is(await signWith(used, slot, interaction), "signed");
      t.is(used.card.verifications.failed, 0);
    }
  });

  test.serial(
    `${name}: another card in its place causes no prompt and is given no PIN`,
    async (t) => {
      for (const keepPin of [0, 3600]) {
        for (const isLookedAt of [false, true]) {
          const used = await cardInUse(t, name, { card, keepPin });
          const other = await makeYubiKey({ ...card, pin: "654321" });
          await used.reader.insert(other);
          if (isLookedAt) t.is(await stateOf(used.provider), "card-absent");
          const { asked, interaction } = makeUser(cardPin);
          for (const slot of slots) {
            t.is(await signWith(used, slot, interaction), "token-removed", slot);
          }
          t.is(await stateOf(used.provider), "card-absent");
          t.is(asked.length, 0);
          t.is(other.verifications.given, 0);
          await used.reader.insert(used.card);
          for (const slot of slots) t.is(await signWith(used, slot, interaction), "signed", slot);
          t.is(used.card.verifications.failed, 0);
        }
      }
    },
  );

  test.serial(`${name}: while pcscd does not run, there is no PIN prompt`, async (t) => {
    const used = await cardInUse(t, name, { card, keepPin: 3600 });
    await used.reader.stop();
    const { asked, interaction } = makeUser(cardPin);
    // One library reports an error, the other that no token is present.
    const isTold = name === "ykcs11";
    for (const slot of slots) {
      const code = isTold ? "module-crashed" : "token-removed";
      t.is(await signWith(used, slot, interaction), code, slot);
      t.is(await stateOf(used.provider), isTold ? "module-failed" : "card-absent");
    }
    const { keyBlob } = keyIn(used.provider, used.card, "9a");
    const data = Buffer.from("data");
    const failure = await refused(
      t,
      used.provider.sign(keyBlob, "ecdsa-sha2-nistp256", data, interaction),
    );
    t.regex(failure.hint, /^Start pcscd/);
    t.is(asked.length, 0);
    await used.reader.start();
    for (const slot of slots) t.is(await signWith(used, slot, noUser), "signed", slot);
    t.is(used.card.verifications.failed, 0);
  });
}

test.serial(
  "opensc: a card that was put back before its first login causes one prompt",
  async (t) => {
    const used = await cardInUse(t, "opensc", { card, pin: "" });
    const { asked, interaction } = makeUser(cardPin);
    await used.reader.eject();
    await used.reader.insert(used.card);
    for (let at = 0; at < 2; at++) t.is(await signWith(used, "9a", interaction), "signed");
    t.is(asked.length, 1);
    t.deepEqual(used.card.verifications, { given: 1, failed: 0 });
  },
);

for (const name of libraryNames) {
  test.serial(
    `${name}: after a wrong PIN and a while without pcscd, one prompt is enough`,
    async (t) => {
      const used = await cardInUse(t, name, { card });
      const { asked, interaction } = makeUser("000000", cardPin);
      await used.reader.eject();
      await used.reader.insert(used.card);
      t.is(await signWith(used, "9a", interaction), "pin-incorrect");
      await used.reader.stop();
      await used.reader.start();
      t.is(await signWith(used, "9a", interaction), "signed");
      t.is(asked.length, 2);
      t.is(used.card.verifications.failed, 1);
    },
  );
}

test.serial("opensc: a wrong PIN is not tried again on a card that was put back", async (t) => {
  const used = await cardInUse(t, "opensc", { card, pin: "" });
  const { interaction } = makeUser("000000", cardPin);
  t.is(await signWith(used, "9a", interaction), "pin-incorrect");
  await used.reader.eject();
  await used.reader.insert(used.card);
  const outcomes = [
    await signWith(used, "9a", interaction),
    await signWith(used, "9a", interaction),
  ];
  t.is(outcomes.at(-1), "signed");
  t.deepEqual(used.card.verifications, { given: 2, failed: 1 });
});

test.serial("opensc: a key without PIN signs without one after any event", async (t) => {
  const used = await cardInUse(t, "opensc", { card, pin: "" });
  for (const happen of Object.values(events)) {
    await happen(used);
    t.is(await signWith(used, "9e"), "signed");
    t.is(await stateOf(used.provider), "pin-needed"); // for the others
  }
  t.is(used.card.verifications.given, 0);
});
