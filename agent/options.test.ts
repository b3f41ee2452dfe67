import { resolve } from "node:path";
import test from "ava";
import { Exit } from "../openssh/exit.ts";
import { cleansAtStart, parseOptions, servingArguments } from "./options.ts";

const parse = (line: string) => parseOptions(line === "" ? [] : line.split(" "));

test("without arguments an agent starts in the background, with OpenSSH's defaults", (t) => {
  t.deepEqual(parse(""), {
    mode: "background",
    shell: undefined,
    bindAddress: undefined,
    inTemporaryFolder: false,
    keepsStaleSockets: false,
    cleansAllHosts: false,
    lifetime: undefined,
    allowedProviders: "/usr/lib*/*,/usr/local/lib*/*",
    otherWords: [],
    renewal: undefined,
    fingerprintHash: "sha256",
    allowRemotePkcs11: false,
    certificateGrace: 300,
    cardTimeout: undefined,
    idleRelease: undefined,
    keepPin: 0,
    websafeAllow: "ssh:*",
    certificates: undefined,
    upstreams: [],
    serving: undefined,
    command: [],
  });
});

test("options combine, and take their argument in the same word or the next", (t) => {
  const { mode, shell, bindAddress, lifetime } = parse("-Dc -a/tmp/x -t1h30m");
  t.deepEqual([mode, shell, bindAddress, lifetime], ["foreground", "csh", "/tmp/x", 5400]);
  t.is(parse("-dE md5").fingerprintHash, "md5");
  t.is(parse("-P /opt/*,!/opt/bad*").allowedProviders, "/opt/*,!/opt/bad*");
  t.true(parse("-O allow-remote-pkcs11").allowRemotePkcs11);
  t.true(parse("-T").inTemporaryFolder);
});

test("upstream agents and a folder of certificates are absolute paths", (t) => {
  const { upstreams, certificates } = parse(
    "-O upstream=/a,confirm -O upstream=b -O certificates=c",
  );
  t.deepEqual(upstreams, [
    { path: "/a", confirm: true },
    { path: resolve("b"), confirm: false },
  ]);
  t.is(certificates, resolve("c"));
  t.is(parse("-O certificates=~/x").certificates, resolve(process.env.HOME ?? "", "x"));
  for (const wrong of ["upstream=", "upstream=,confirm", "certificates="]) {
    t.throws(() => parse(`-O ${wrong}`), { instanceOf: Exit }, wrong);
  }
  t.throws(() => parse("-O certificates=a -O certificates=b"), { instanceOf: Exit });
});

test("the options without -P are kept as words", (t) => {
  const { otherWords } = parse("-DO pin-cache=1h -P /opt/* -T -t60");
  t.deepEqual(otherWords, ["-D", "-O", "pin-cache=1h", "-T", "-t", "60"]);
  t.deepEqual(parseOptions(["-a", "", "-P", "/opt/*"]).otherWords, ["-a", ""]);
});

test("-u removes stale sockets: once of this host, twice of all", (t) => {
  t.like(parse("-u"), { mode: "clean", cleansAllHosts: false });
  for (const line of ["-uu", "-u -u"]) t.like(parse(line), { mode: "clean", cleansAllHosts: true });
  t.is(parse("-uk").mode, "kill");
});

test("-O sets the applications of FIDO keys that may sign any data", (t) => {
  t.is(parse("-O websafe-allow=ssh:*,example.org").websafeAllow, "ssh:*,example.org");
  t.is(parse("-Owebsafe-allow=").websafeAllow, "");
  t.is(parse("-O no-restrict-websafe -O websafe-allow=x").websafeAllow, undefined);
});

test("everything after -V is ignored", (t) => {
  t.is(parse("-V -Z").mode, "version");
  t.is(parse("-sV ls").mode, "version");
});

test("all words after a command are its arguments", (t) => {
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
  ["-O websafe-allow", "Unknown -O option", 255],
  ["-O websafe-allow=a -O websafe-allow=b", "websafe-allow already set", 255],
  ["-P a -P b", "-P option already specified", 255],
  ["-c -s", "", 1],
  ["-d -D", "", 1],
  ["-dd", "", 1],
  ["-D -D", "", 1],
  ["-t bogus -Z", "Invalid lifetime", 1],
  ["-Z -t bogus", "unknown option -- Z", 1],
  ["-cé", "unknown option -- \udcc3", 1],
  ["-D ls", "", 1],
  ["-s ls", "", 1],
  ["-k ls", "", 1],
  ["-u ls", "", 1],
];

for (const [line, message, status] of refusals) {
  test(`ssh-agent ${line} is refused as OpenSSH does it`, (t) => {
    t.like(
      t.throws(() => parse(line), { instanceOf: Exit }),
      { message, status },
    );
  });
}

test("the agent in the background parses the options that it is passed", (t) => {
  const serving = { parent: 4711, starter: 4710 };
  for (const line of [
    "",
    "-U",
    "-a /tmp/x",
    "-T -t 60 -E md5 -P /x*",
    "-O websafe-allow=a,b -Oallow-remote-pkcs11",
    "-O upstream=/a,confirm -O upstream=/b -O certificates=/c",
  ]) {
    for (const more of [[], ["-O", "no-restrict-websafe"]]) {
      const asked = parseOptions([...line.split(" ").filter(Boolean), ...more]);
      const handed = parseOptions(servingArguments(serving, asked));
      const { bindAddress, lifetime, fingerprintHash } = asked;
      const { allowedProviders, allowRemotePkcs11, websafeAllow } = asked;
      t.deepEqual(handed.upstreams, asked.upstreams);
      t.is(handed.certificates, asked.certificates);
      t.like(handed, { mode: "serve", serving, bindAddress, lifetime, fingerprintHash });
      t.like(handed, { allowedProviders, allowRemotePkcs11, websafeAllow });
      t.is(cleansAtStart(handed), cleansAtStart(asked), line);
    }
  }
});

test("stale sockets are removed at the start, except with another socket or -U", (t) => {
  t.deepEqual(
    ["", "-D", "ls", "-U", "-T", "-a /tmp/x", "-DU"].map((line) => cleansAtStart(parse(line))),
    [true, true, true, false, false, false, false],
  );
});

test("PINs are kept for as long as pin-cache says", (t) => {
  t.is(parse("-O pin-cache=none").keepPin, 0);
  t.is(parse("-O pin-cache=0").keepPin, 0);
  t.is(parse("-O pin-cache=15m").keepPin, 900);
  t.is(parse("-O pin-cache=3600 -O allow-remote-pkcs11").keepPin, 3600);
  for (const value of ["", "for ever", "15x", "-1", "none,none"]) {
    const error = t.throws(() => parseOptions(["-O", `pin-cache=${value}`]), {
      instanceOf: Exit,
    });
    t.is(error.status, 255);
    t.is(error.message, `Invalid pin-cache "${value}": use none or a time`);
  }
  const twice = t.throws(() => parse("-O pin-cache=none -O pin-cache=1h"));
  t.is(twice?.message, "pin-cache already set");
});

test("card-timeout sets both timeouts, or those for signing and loading", (t) => {
  t.deepEqual(parse("-O card-timeout=90").cardTimeout, { sign: 90, load: 90 });
  t.deepEqual(parse("-O card-timeout=2m,10").cardTimeout, { sign: 120, load: 10 });
  t.deepEqual(parse("-O card-timeout=1d").cardTimeout, { sign: 86_400, load: 86_400 });
  for (const value of ["", "0", "1,0", "1,2,3", ",5", "5,", "25h", "soon"]) {
    const error = t.throws(() => parseOptions(["-O", `card-timeout=${value}`]), {
      instanceOf: Exit,
    });
    t.regex(error.message, /^Invalid card-timeout "/);
  }
});

test("expired certificates stay for five minutes, or as the options say", (t) => {
  t.is(parse("-O certificate-grace=1h30m").certificateGrace, 5400);
  t.is(parse("-O certificate-grace=0").certificateGrace, 0);
  t.is(parse("-O keep-ended-certificates").certificateGrace, undefined);
  t.is(parse("-O certificate-grace=1 -O keep-ended-certificates").certificateGrace, undefined);
  for (const value of ["", "soon", "-1", "none"]) {
    const error = t.throws(() => parseOptions(["-O", `certificate-grace=${value}`]), {
      instanceOf: Exit,
    });
    t.is(error.message, `Invalid certificate-grace "${value}": use a time`);
    t.is(error.status, 255);
  }
  const twice = t.throws(() => parse("-O certificate-grace=1 -O certificate-grace=2"));
  t.is(twice?.message, "certificate-grace already set");
});

test("an agent in the background gets certificate-grace", (t) => {
  const serving = { parent: 0, starter: 1 };
  for (const line of ["", "-O certificate-grace=0", "-O keep-ended-certificates"]) {
    const given = parse(line);
    const { certificateGrace } = parseOptions(servingArguments(serving, given));
    t.is(certificateGrace, given.certificateGrace, line);
  }
});

test("idle-release is a time up to a day, or none", (t) => {
  t.is(parse("-O idle-release=5m").idleRelease, 300);
  t.is(parse("-O idle-release=1d").idleRelease, 86_400);
  t.is(parse("-O idle-release=none").idleRelease, undefined);
  for (const value of ["", "0", "soon", "1d1s", "-5", "5m,5m"]) {
    const error = t.throws(() => parseOptions(["-O", `idle-release=${value}`]), {
      instanceOf: Exit,
    });
    t.regex(error.message, /^Invalid idle-release "/);
  }
  t.throws(() => parse("-O idle-release=5m -O idle-release=6m"), { instanceOf: Exit });
});

test("an agent in the background gets the options for cards", (t) => {
  const given = parse("-O pin-cache=15m -O card-timeout=90,20 -O idle-release=5m");
  const serving = { parent: 0, starter: 1 };
  const { keepPin, cardTimeout, idleRelease } = parseOptions(servingArguments(serving, given));
  t.is(idleRelease, 300);
  t.is(keepPin, 900);
  t.deepEqual(cardTimeout, { sign: 90, load: 20 });
});

test("renew takes an absolute path, or the name of a program in PATH", (t) => {
  t.is(parse("").renewal, undefined);
  t.deepEqual(parse("-O renew=/opt/ca/renew").renewal, { program: "/opt/ca/renew", all: false });
  t.regex(parse("-O renew=~/renew").renewal?.program ?? "", /^\/.*\/renew$/);
  const both = parse("-O renew-all -O renew=sh");
  t.is(both.renewal?.all, true);
  t.regex(both.renewal?.program ?? "", /^\/.*\/sh$/);
  for (const [line, message] of [
    ["-O renew=", 'Invalid renew "": use an absolute path, or a name in PATH'],
    ["-O renew=./sh", 'Invalid renew "./sh": use an absolute path, or a name in PATH'],
    ["-O renew=no-such", 'Invalid renew "no-such": there is no such program in PATH'],
    ["-O renew=/a -O renew=/b", "renew already set"],
    ["-O renew-all", "renew-all needs renew=PROGRAM"],
  ] as const) {
    t.like(
      t.throws(() => parse(line), { instanceOf: Exit }),
      { message, status: 255 },
    );
  }
});

test("an agent in the background gets renew and renew-all", (t) => {
  for (const line of ["", "-O renew=sh", "-O renew=/opt/renew -O renew-all"]) {
    const given = parse(line);
    const { renewal } = parseOptions(servingArguments({ parent: 0, starter: 1 }, given));
    t.deepEqual(renewal, given.renewal, line);
  }
});
