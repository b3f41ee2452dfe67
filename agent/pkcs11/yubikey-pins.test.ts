import test from "ava";
import { resetByAnotherProgram } from "../../fixtures/virtual-yubikey/index.ts";
import { refused } from "./test-hostile.ts";
import { makeRegistry, pinOf, stateOf } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";
import { cardInUse, cardPin, insertedCard, libraryNames, signWith } from "./test-yubikey.ts";

// Each of these tests has a pcscd of its own: one after another, so that none waits for long.

const card = { keys: ["9a", "9c"].map((slot) => ({ slot, type: "p256" }) as const) };
const wrongPin = "000000";
const newPin = "654321";

for (const name of libraryNames) {
  test.serial(
    `${name}: a wrong PIN costs one try, and the last try and the lock are reported`,
    async (t) => {
      const { card: yubiKey, library, registry } = await insertedCard(t, name, { card });
      for (const [code, left] of [
        ["pin-incorrect", 2],
        ["pin-last-try", 1],
        ["pin-locked", 0],
      ] as const) {
        t.is((await refused(t, registry.add(library, pinOf(wrongPin)))).code, code);
        t.is(yubiKey.pinTriesLeft, left);
      }
      const { given } = yubiKey.verifications;
      t.is((await refused(t, registry.add(library, pinOf(cardPin)))).code, "pin-locked");
      t.is(yubiKey.verifications.given, given);
    },
  );

  for (const slot of ["9a", "9c"]) {
    test.serial(
      `${name}: a prompt for ${slot} costs one try, and warns of the last one`,
      async (t) => {
        const used = await cardInUse(t, name, { card });
        const answers = [wrongPin, wrongPin, cardPin, wrongPin, wrongPin, wrongPin];
        const { asked, interaction } = makeUser(...answers);
        const outcomes = [
          ["pin-incorrect", 2],
          ["pin-last-try", 1],
          ["signed", 3],
          ["pin-incorrect", 2],
          ["pin-last-try", 1],
          ["pin-locked", 0],
          ["pin-locked", 0],
        ] as const;
        for (const [at, [outcome, left]] of outcomes.entries()) {
          if (slot === "9a" && at % 3 === 0) await used.reader.insert(used.card);
          t.is(await signWith(used, slot, interaction), outcome, String(at));
          t.is(used.card.pinTriesLeft, left);
        }
        t.deepEqual(
          asked.map(({ isLastTry }) => isLastTry),
          [false, false, true, false, false, true],
        );
        t.is(used.card.verifications.failed, 5);
      },
    );
  }

  test.serial(`${name}: a cached PIN that was changed is tried once`, async (t) => {
    for (const slot of ["9a", "9c"]) {
      const used = await cardInUse(t, name, { card, keepPin: 3600 });
      t.is(await signWith(used, slot), "signed");
      used.card.changePin(newPin);
      await used.reader.insert(used.card);
      for (let at = 0; at < 3; at++) {
        t.regex(await signWith(used, slot), /^pin-(required|incorrect)$/);
        t.is(used.card.verifications.failed, 1, slot);
      }
      const { asked, interaction } = makeUser(newPin);
      t.is(await signWith(used, slot, interaction), "signed");
      t.is(asked.length, 1);
      await used.reader.insert(used.card);
      t.is(await signWith(used, slot), "signed");
    }
  });

  test.serial(
    `${name}: a wrong PIN is reused for no other key, and a correct one signs again`,
    async (t) => {
      const used = await cardInUse(t, name, { card });
      const { asked, interaction } = makeUser(wrongPin, cardPin);
      t.is(await signWith(used, "9c", interaction), "pin-incorrect");
      t.is(await signWith(used, "9a", interaction), "signed");
      t.is(await signWith(used, "9a", interaction), "signed");
      t.is(asked.length, 2);
      t.is(await signWith(used, "9c", interaction), "signed");
      t.is(asked.length, 3);
      t.is(used.card.verifications.failed, 1);
      t.is(await stateOf(used.provider), "ready");
    },
  );

  test.serial(`${name}: concurrent signatures share a wrong PIN`, async (t) => {
    const used = await cardInUse(t, name, { card });
    await used.reader.insert(used.card);
    const { asked, interaction } = makeUser(wrongPin);
    const signing = Array.from({ length: 6 }, () => signWith(used, "9a", interaction));
    const many = await Promise.all(signing);
    t.deepEqual(new Set(many), new Set(["pin-incorrect"]));
    t.is(asked.length, 1);
    t.is(used.card.verifications.failed, 1);
  });

  test.serial(`${name}: a cached PIN is not used for the last try`, async (t) => {
    for (const slot of ["9a", "9c"]) {
      const used = await cardInUse(t, name, { card, keepPin: 3600 });
      const other = makeRegistry(t, { env: used.reader.env });
      used.card.changePin(newPin);
      for (let at = 0; at < 2; at++) await refused(t, other.add(used.library, pinOf(wrongPin)));
      await used.reader.insert(used.card);
      t.is(await signWith(used, slot), "pin-required", slot);
      t.is(used.card.pinTriesLeft, 1);
      const { asked, interaction } = makeUser(newPin);
      t.is(await signWith(used, slot, interaction), "signed");
      t.deepEqual(
        asked.map(({ isLastTry }) => isLastTry),
        [true],
      );
    }
  });

  test.serial(
    `${name}: a PIN that the library tried without success is not tried again`,
    async (t) => {
      const used = await cardInUse(t, name, { card, keepPin: 3600 });
      used.card.changePin(newPin);
      await resetByAnotherProgram(used.workspace, used.reader);
      t.is(await signWith(used, "9a"), "pin-required");
      t.is(used.card.verifications.failed, 1);
      t.is(await signWith(used, "9a", makeUser(newPin).interaction), "signed");
    },
  );
}

test.serial("opensc: a PIN that the library tried silently leaves the last try", async (t) => {
  // Without a key that asks each time, the library keeps the PIN itself and reports only the last
  // try.
  const keys = card.keys.slice(0, 1);
  const used = await cardInUse(t, "opensc", { card: { keys }, keepPin: 3600 });
  used.card.changePin(newPin);
  await resetByAnotherProgram(used.workspace, used.reader);
  for (let at = 0; at < 3; at++) t.is(await signWith(used, "9a"), "pin-required");
  t.is(used.card.pinTriesLeft, 1);
  const { asked, interaction } = makeUser(newPin);
  t.is(await signWith(used, "9a", interaction), "signed");
  t.deepEqual(
    asked.map(({ isLastTry }) => isLastTry),
    [true],
  );
});
