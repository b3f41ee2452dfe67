/** Random faults of a library and its cards: once they are over, every key signs again. */
import test from "ava";
import fc from "fast-check";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { loaded, signOnce } from "./test-hostile.ts";
import { noUser } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";

// Not "close": sessions that a library does not close are lost, and some have few.
const calls =
  "slots slot-info token open session-info login logout find-init find attribute sign-init sign";
const call = fc.constantFrom(...calls.split(" "));
const error = fc.constantFrom(
  ..."0x5 0x6 0x30 0x32 0x54 0x60 0x82 0x91 0xb0 0xb3 0xe0 0x101 0x190 0x80000001".split(" "),
);

/** A word of the hostile module; `#` stands for an unused number. */
const word = fc.oneof(
  fc.constantFrom("epoch=#", "absent", "absent=1", "serial=77", "lose-login=#"),
  fc.constantFrom("0x30", "0x5", "0x6", "empty").map((what) => `needs-restart=${what},#`),
  call.map((name) => `crash-${name}`),
  fc.tuple(call, error).map(([name, value]) => `${name}-error=${value}`),
);

/** The faults of a library, and whether its cards are away before it recovers. */
const faults = fc.record({
  words: fc.array(word, { minLength: 1, maxLength: 3 }),
  isAway: fc.boolean(),
  asks: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
});

const library = fc.record({
  tokens: fc.constantFrom("tokens=1", "tokens=2"),
  others: fc.subarray(["removable", "sessions=2", "always-authenticate=1"]),
  keepPin: fc.constantFrom(0, 3600),
});

test("after any faults all keys sign, and no PIN try is lost", async (t) => {
  t.timeout(170_000);
  const property = fc.asyncProperty(
    library,
    fc.array(faults, { minLength: 4, maxLength: 8 }),
    async ({ tokens, others, keepPin }, rounds) => {
      const base = ["login", "tries=5", "keys=2", tokens, ...others];
      const { module, provider, registry } = await loaded(t, base, { keepPin });
      const sign = (at: number, asks: boolean) => {
        const interaction = asks ? makeUser(hostilePin).interaction : noUser;
        return signOnce(provider, at % provider.keys.length, interaction);
      };
      let number = 1;
      for (const { words, isAway, asks } of rounds) {
        const numbered = words.map((it) => it.replace("#", () => `${++number}`));
        const epoch = numbered.find((it) => it.startsWith("epoch=")) ?? `epoch=${number}`;
        module.behave(...base, epoch, ...numbered);
        const outcomes = await Promise.all([
          ...asks.map((isAsked, at) => sign(at, isAsked)),
          provider.status().then(({ state }) => state),
        ]);
        const about = `${base.join(" ")}: ${numbered.join(" ")}: ${outcomes.join(" ")}`;
        t.notRegex(outcomes.join(" "), /garbage|internal|pin-(incorrect|last-try|locked)/, about);
        module.behave(...base, isAway ? `epoch=${++number}` : epoch);
        const after = await Promise.all(provider.keys.map((_, at) => sign(at, true)));
        t.deepEqual(new Set(after), new Set(["signed"]), about);
        t.is(module.wrongPins(), 0, about);
      }
      await registry.removeAll();
    },
  );
  await fc.assert(property, { numRuns: 20, endOnFailure: true });
});
