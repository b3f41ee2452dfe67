/** A YubiKey whose library is reloaded, or whose PIN other programs have tried. */
import test from "ava";
import { makeYubiKey } from "../../fixtures/virtual-yubikey/index.ts";
import { refused } from "./test-hostile.ts";
import { makeRegistry, noUser, pinOf, stateOf } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";
import { cardInUse, cardPin, insertedCard, keyIn, libraryNames, signWith } from "./test-yubikey.ts";

const slots = ["9a", "9c", "9e"];
const card = { keys: slots.map((slot) => ({ slot, type: "p256" }) as const) };

for (const name of libraryNames) {
  test.serial(`${name}: a reloaded library is logged in`, async (t) => {
    const used = await cardInUse(t, name, { card });
    for (let at = 0; at < 2; at++) {
      const provider = await used.registry.add(used.library, pinOf(cardPin));
      if (at > 0) t.is(await signWith({ ...used, provider }, "9c"), "pin-required");
      t.is(await stateOf(provider), "ready");
      t.is(await signWith({ ...used, provider }, "9a", noUser), "signed");
    }
    t.is(used.card.verifications.failed, 0);
  });

  test.serial(`${name}: an abandoned or failed load keeps the login`, async (t) => {
    const used = await cardInUse(t, name, { card });
    const prepared = await used.registry.prepare(used.library);
    await prepared.child.ask({ type: "state" }, 20_000, "leave");
    used.registry.abandon(prepared);
    await prepared.child.ended;
    t.is(await stateOf(used.provider), "ready");
    t.is(await signWith(used, "9a"), "signed");
    await refused(t, used.registry.add(used.library, pinOf("000000")));
    t.is(used.card.verifications.failed, 1);
  });

  test.serial(`${name}: a card with a new certificate is the same card`, async (t) => {
    const used = await cardInUse(t, name, { card, keepPin: 3600 });
    await used.reader.eject(0);
    used.card.renewCertificate("9a", "Another name");
    await used.reader.insert(used.card, 0);
    t.is(await signWith(used, "9a"), "signed");
    t.is(await stateOf(used.provider), "ready");
    const again = await used.registry.add(used.library, pinOf(cardPin));
    if (name === "opensc") t.is(again.tokens[0]?.label, "Another name");
    t.is(used.card.verifications.failed, 0);
  });

  test.serial(`${name}: a card in the place of another one signs`, async (t) => {
    const used = await insertedCard(t, name, { card });
    const other = await makeYubiKey({ serial: 12345678, keys: [{ slot: "9a", type: "p384" }] });
    await used.reader.insert(other, 1);
    const provider = await used.registry.add(used.library, pinOf(cardPin));
    await used.reader.eject(1);
    await used.reader.eject(0);
    await used.reader.insert(used.card, 1);
    const { asked, interaction } = makeUser(cardPin);
    for (const slot of ["9a", "9a"]) {
      t.is(await signWith({ provider, card: used.card }, slot, interaction), "signed");
    }
    t.is(asked.length, 1);
    await used.reader.insert(other, 0);
    t.is(await signWith({ provider, card: other }, "9a", interaction), "signed");
  });
}

test.serial(
  "opensc: a card that was put back beside another one signs after one prompt",
  async (t) => {
    const card = { keys: [{ slot: "9a", type: "p256" } as const] };
    const used = await insertedCard(t, "opensc", { card });
    const other = await makeYubiKey(card);
    await used.reader.insert(other, 1);
    await used.reader.stop();
    await used.reader.start(); // it finds both, and the library misses that one goes
    const provider = await used.registry.add(used.library, pinOf(cardPin));
    await used.reader.eject(0);
    await used.reader.insert(used.card, 0);
    const { asked, interaction } = makeUser(cardPin);
    t.is(await signWith({ provider, card: used.card }, "9a", interaction), "signed");
    t.is(asked.length, 1);
    t.is(await signWith({ provider, card: other }, "9a", interaction), "signed");
    t.is(used.card.verifications.failed + other.verifications.failed, 0);
  },
);

test.serial("opensc: nobody is told to make a key over one without a certificate", async (t) => {
  const keys = [{ slot: "9a", type: "p256", certificate: false } as const];
  const used = await insertedCard(t, "opensc", { card: { keys } });
  const { code, message, hint } = await refused(t, used.registry.add(used.library, pinOf(cardPin)));
  t.is(code, "no-usable-key");
  t.regex(message, /shows no keys and no certificates, only \d+ data objects/);
  t.regex(hint, /^Look with the vendor's tool .* OpenSC shows a PIV card's key only with its cert/);
});

test.serial("opensc: wrong PINs before the right one no longer count", async (t) => {
  const used = await insertedCard(t, "opensc", { card, keepPin: 3600 });
  for (let at = 0; at < 2; at++) await refused(t, used.registry.add(used.library, pinOf("000000")));
  const provider = await used.registry.add(used.library, pinOf(cardPin));
  for (let at = 0; at < 3; at++) t.is(await signWith({ ...used, provider }, "9c"), "signed");
});

test.serial("ykcs11: a PIN of an invalid length is reported, and costs no try", async (t) => {
  const used = await cardInUse(t, "ykcs11", { card });
  for (const pin of ["123", "123456789"]) {
    const failure = await refused(t, used.registry.add(used.library, pinOf(pin)));
    t.is(failure.code, "pin-incorrect");
    t.regex(failure.message, /does not accept a PIN of this form/);
  }
  t.is(used.card.pinTriesLeft, 3);
});

for (const name of libraryNames) {
  test.serial(`${name}: the hint for a locked PIN is the same for all keys`, async (t) => {
    const used = await cardInUse(t, name, { card });
    const wrong = makeUser("000000").interaction;
    for (let at = 0; at < 3; at++) t.not(await signWith(used, "9c", wrong), "signed");
    for (const slot of ["9a", "9c"]) {
      const { keyBlob } = keyIn(used.provider, used.card, slot);
      const signing = used.provider.sign(keyBlob, "ecdsa-sha2-nistp256", Buffer.of(1), noUser);
      const { hint, code } = await refused(t, signing);
      t.is(code, "pin-locked", slot);
      t.regex(hint, /PUK/);
    }
  });
}

test.serial("opensc: a key without PIN does not hide that others need one", async (t) => {
  const used = await cardInUse(t, "opensc", { card });
  await used.reader.insert(used.card);
  t.is(await signWith(used, "9e"), "signed");
  t.is(await stateOf(used.provider), "pin-needed");
  t.is(await signWith(used, "9a"), "pin-required");
});

test.serial("opensc: PIN tries by other programs are reported before the prompt", async (t) => {
  const used = await cardInUse(t, "opensc", { card });
  const other = makeRegistry(t, { env: used.reader.env });
  for (let at = 0; at < 2; at++) await refused(t, other.add(used.library, pinOf("000000")));
  t.is(used.card.pinTriesLeft, 1);
  const { keyBlob } = keyIn(used.provider, used.card, "9a");
  const signing = used.provider.sign(keyBlob, "ecdsa-sha2-nistp256", Buffer.of(1), noUser);
  const { code, message } = await refused(t, signing);
  t.is(code, "pin-required");
  t.regex(message, /one try is left/);
  t.is(await stateOf(used.provider), "pin-needed");
  const { asked, interaction } = makeUser(undefined);
  t.is(await signWith(used, "9a", interaction), "pin-required");
  t.deepEqual(
    asked.map(({ isLastTry }) => isLastTry),
    [true],
  );
  await refused(t, other.add(used.library, pinOf("000000")));
  t.is(await signWith(used, "9a", interaction), "pin-locked");
  t.is(asked.length, 1);
});
