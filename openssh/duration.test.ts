import test from "ava";
import fc from "fast-check";
import { formatDuration, parseDuration } from "./duration.ts";

test("durations are parsed as in sshd_config", (t) => {
  const times: [string, number | undefined][] = [
    ["600", 600],
    ["10m", 600],
    ["1h30m", 5400],
    ["1h30", 3630],
    ["2w", 1_209_600],
    ["1W2D3H4M5S", 788_645],
    ["1d1s", 86_401],
    ["0", 0],
    ["99999999999", undefined],
    ["4000w", undefined],
    ["1x", undefined],
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
  for (const [text, seconds] of times) t.is(parseDuration(text), seconds, text);
});

test("durations are formatted like OpenSSH 10", (t) => {
  t.is(formatDuration(2862), "00:47:42");
  t.is(formatDuration(3600), "01:00:00");
  t.is(formatDuration(86_399), "23:59:59");
  t.is(formatDuration(86_400), "1d00h00m");
  t.is(formatDuration(273_900), "3d04h05m");
  t.is(formatDuration(777_600), "01w2d00h");
});

test("any sum of units is parsed", (t) => {
  const number = fc.integer({ min: 0, max: 500 });
  fc.assert(
    fc.property(number, number, number, number, (weeks, days, minutes, seconds) => {
      const expected = weeks * 604_800 + days * 86_400 + minutes * 60 + seconds;
      return parseDuration(`${weeks}w${days}D${minutes}m${seconds}`) === expected;
    }),
  );
  t.pass();
});
