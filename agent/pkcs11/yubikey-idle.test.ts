/** A YubiKey that nobody uses is given back, so that other programs can have it for themselves. */
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { useAlone } from "../../fixtures/virtual-yubikey/index.ts";
import { TestClock } from "../test-agent.ts";
import { makeUser } from "./test-user.ts";
import { cardInUse, cardPin, libraryNames, signWith } from "./test-yubikey.ts";

const minute = 60_000;

for (const name of libraryNames) {
  for (const keepPin of [0, 3600]) {
    const kept = keepPin > 0 ? "kept" : "not kept";
    test.serial(`${name}: another program can have an unused card, PIN ${kept}`, async (t) => {
      const clock = new TestClock();
      const limits = { release: 20_000, close: 20_000 };
      const options = { keepPin, limits, idle: { clock, after: minute } };
      const used = await cardInUse(t, name, options);
      const { workspace, reader, provider } = used;
      const user = makeUser(cardPin);
      t.is(await signWith(used, "9a", user.interaction), "signed");
      t.false(await useAlone(workspace, reader));
      for (const round of [1, 2]) {
        clock.pass(minute);
        t.true(await eventually(() => useAlone(workspace, reader)));
        const { isReleased, state } = await provider.status();
        t.true(isReleased);
        t.is(state, keepPin > 0 ? "ready" : "pin-needed");
        t.true(await useAlone(workspace, reader)); // asking for the state did not wake the card
        t.is(await signWith(used, "9a", user.interaction), "signed");
        t.is(user.asked.length, keepPin > 0 ? 0 : round);
        t.false(await useAlone(workspace, reader));
      }
      t.is(used.card.verifications.failed, 0);
    });
  }
}
