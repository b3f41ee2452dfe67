import test from "ava";
import fc from "fast-check";
import { formatLifetime, parseLifetime } from "./lifetime.ts";

test("times are read as in sshd_config", (t) => {
  const times: [string, number | undefined][] = [
    ["600", 600],
    ["10m", 600],
    ["1h30m", 5400],
    ["1h30", 3630],
    ["2w", 1_209_600],
    ["1W2D3H4M5S", 788_645],
    ["0", 0],
    ["2147483647", 2_147_483_647],
    ["2147483648", undefined],
    ["", undefined],
    ["-1", undefined],
    ["1y", undefined],
    ["h", undefined],
    ["1 h", undefined],
    ["1.5h", undefined],
    [`${"1".repeat(60)}x`, undefined],
  ];
  for (const [text, seconds] of times) t.is(parseLifetime(text), seconds, text);
});

test("times are shown as OpenSSH 10 shows them", (t) => {
  t.is(formatLifetime(2862), "00:47:42");
  t.is(formatLifetime(3600), "01:00:00");
  t.is(formatLifetime(86_399), "23:59:59");
  t.is(formatLifetime(86_400), "1d00h00m");
  t.is(formatLifetime(273_900), "3d04h05m");
  t.is(formatLifetime(777_600), "01w2d00h");
});

test("any sum of units is read", (t) => {
  const number = fc.integer({ min: 0, max: 500 });
  fc.assert(
    fc.property(number, number, number, number, (weeks, days, minutes, seconds) => {
      const expected = weeks * 604_800 + days * 86_400 + minutes * 60 + seconds;
      return parseLifetime(`${weeks}w${days}D${minutes}m${seconds}`) === expected;
    }),
  );
  t.pass();
});
