import test from "ava";
import { parseDuration } from "./host/duration.ts";
import { parseOptions, servingArgument, UsageError } from "./options.ts";

const parse = (line: string) => parseOptions(line === "" ? [] : line.split(" "));

test("without arguments an agent starts in the background, with OpenSSH's defaults", (t) => {
  t.deepEqual(parse(""), {
    mode: "background",
    shell: undefined,
    bindAddress: undefined,
    inTemporaryFolder: false,
    lifetime: undefined,
    allowedProviders: "/usr/lib*/*,/usr/local/lib*/*",
    fingerprintHash: "sha256",
    allowRemotePkcs11: false,
    serving: undefined,
    command: [],
  });
});

test("options combine, and take their argument beside or behind them", (t) => {
  const { mode, shell, bindAddress, lifetime } = parse("-Dc -a/tmp/x -t1h30m");
  t.deepEqual([mode, shell, bindAddress, lifetime], ["foreground", "csh", "/tmp/x", 5400]);
  t.is(parse("-dE md5").fingerprintHash, "md5");
  t.is(parse("-P /opt/*,!/opt/bad*").allowedProviders, "/opt/*,!/opt/bad*");
  t.true(parse("-O allow-remote-pkcs11").allowRemotePkcs11);
  t.true(parse("-T").inTemporaryFolder);
});

test("a command takes all that follows it", (t) => {
  t.deepEqual(parse("-t 60 bash -c date -D").command, ["bash", "-c", "date", "-D"]);
  t.deepEqual(parse("-- -odd name").command, ["-odd", "name"]);
  t.is(parse("bash -D").mode, "background");
});

const refusals: readonly [string, string, number][] = [
  ["-Z", "unknown option -- Z", 1],
  ["--frobnicate", "unknown option -- -", 1],
  ["-a", "option requires an argument -- a", 1],
  ["-t bogus", "Invalid lifetime", 1],
  ["-E sha9", 'Invalid hash algorithm "sha9"', 255],
  ["-O bogus", "Unknown -O option", 255],
  ["-P a -P b", "-P option already specified", 255],
  ["-c -s", "", 1],
  ["-d -D", "", 1],
  ["-D ls", "", 1],
  ["-s ls", "", 1],
  ["-k ls", "", 1],
];

for (const [line, message, status] of refusals) {
  test(`ssh-agent ${line} is refused as OpenSSH does it`, (t) => {
    t.like(
      t.throws(() => parse(line), { instanceOf: UsageError }),
      { message, status },
    );
  });
}

test("what the starting program hands over is what the agent reads", (t) => {
  const serving = { descriptor: 3, parent: 4711, ownsFolder: true };
  const options = parseOptions([servingArgument(serving), "-a", "/tmp/x"]);
  t.is(options.mode, "serve");
  t.deepEqual(options.serving, serving);
});

test("durations are those of sshd_config", (t) => {
  t.is(parseDuration("90"), 90);
  t.is(parseDuration("1h30m"), 5400);
  t.is(parseDuration("2W"), 1_209_600);
  t.is(parseDuration("1d1s"), 86_401);
  for (const bad of ["", "h", "1x", "-1", "1 h", "99999999999", "4000w"]) {
    t.is(parseDuration(bad), undefined, bad);
  }
});
