import test from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { prepare, signOnce } from "./test-hostile.ts";
import { pinOf } from "./test-registry.ts";

for (const login of [[], ["login"]]) {
  const kind = login.length > 0 ? "whose PIN is kept" : "without PIN";
  test(`a token ${kind} keeps signing while others look for another one of its library`, async (t) => {
    const words = ["tokens=2", "slow-sign=5", ...login];
    const { module, registry } = await prepare(t, words, { keepPin: 3600 });
    const provider = await registry.add(module.path, pinOf(login.length > 0 ? hostilePin : ""));
    module.behave(...words, "absent=2");
    let looks = 0;
    let isOver = false;
    const seekers = Array.from({ length: 3 }, async () => {
      for (; !isOver; looks++) t.is(await signOnce(provider, 1), "token-removed");
    });
    const signers = Array.from({ length: 4 }, async () => {
      for (let at = 0; at < 40; at++) t.is(await signOnce(provider, 0), "signed");
    });
    await Promise.all(signers);
    isOver = true;
    await Promise.all(seekers);
    t.true(looks > 0);
    // Nothing is being signed now, so the library may be restarted; the other token still signs.
    t.is(await signOnce(provider, 1), "token-removed");
    t.is(await signOnce(provider, 0), "signed");
  });
}
