import test from "ava";
import { Exit } from "../openssh/exit.ts";
import { type Action, type Options, parseOptions } from "./options.ts";

async function read(line: string): Promise<Options> {
  return parseOptions(line === "" ? [] : line.split(" "));
}

async function refusal(line: string): Promise<string> {
  const error = await read(line).catch((thrown: unknown) => thrown);
  if (!(error instanceof Exit)) return "accepted";
  const form = error.showsUsage ? "usage" : error.isLogged ? "log" : "plain";
  return `${error.message} / ${error.status} ${form}`;
}

test("short options combine, and arguments are in the same word or the next", async (t) => {
  t.like(await read("-qCs LIB cert"), {
    action: "add-card",
    quiet: true,
    certificatesOnly: true,
    provider: "LIB",
    operands: ["cert"],
  });
  t.like(await read("-qsLIB"), { action: "add-card", quiet: true, provider: "LIB" });
  t.like(await read("-t1h30m -vv -v"), { action: "add-files", lifetime: 5400, verbosity: 3 });
  t.like(await read("-Emd5 -l"), { action: "list", hash: "md5" });
  t.like(await read("-s -q"), { provider: "-q", quiet: false });
  t.like(await read("-Ps LIB"), { action: "add-card", asksPin: false });
  t.like(await read("-Pk key"), { action: "add-files", asksPin: false });
  t.like(await read("-s LIB"), { asksPin: true });
  t.like(await read("-M 5 -m1 -l"), { action: "list" });
  t.like(await read("-h a -ha>b -H f"), { destinations: ["a", "a>b"], hostKeyFiles: ["f"] });
});

test("short options end at the first operand or at --", async (t) => {
  t.like(await read("file -l"), { action: "add-files", operands: ["file", "-l"] });
  t.like(await read("-q -- -l --json"), {
    action: "add-files",
    quiet: true,
    operands: ["-l", "--json"],
  });
  t.like(await read("- -d"), { action: "add-files", operands: ["-", "-d"] });
  t.like(await read("-d -"), { action: "remove-files", operands: ["-"] });
});

test("long options may appear anywhere before --", async (t) => {
  t.like(await read("-s LIB one --cert-for-card two three --cert-for-card=four"), {
    action: "add-card",
    operands: ["one", "three"],
    cardCertificates: ["two", "four"],
  });
  t.like(await read("--cert-for-card CERT"), {
    action: "attach-certificates",
    cardCertificates: ["CERT"],
  });
  t.like(await read("--cert-for-card -q -q"), { cardCertificates: ["-q"], quiet: true });
  t.like(await read("--cert-for-card 0123"), { cardCertificates: ["0123"] });
  t.like(await read("--json -l"), { action: "list", json: true });
  t.like(await read("-L --json"), { action: "list-keys", json: true });
  t.like(await read("--list-providers"), { action: "list-providers", json: false });
  t.like(await read("--help -l -D"), { action: "help" });
  t.like(await read("--version"), { action: "version" });
});

test("each action has its options, with OpenSSH's precedence", async (t) => {
  const actions: [string, Action][] = [
    ["", "add-files"],
    ["-d", "remove-files"],
    ["-D", "remove-all"],
    ["-l file", "list"],
    ["-L", "list-keys"],
    ["-Q", "query"],
    ["-x", "lock"],
    ["-X", "unlock"],
    ["-T key", "test"],
    ["--write-public-keys D", "write-public-keys"],
    ["-T -s LIB", "test"],
    ["-d -s LIB", "remove-card"],
    ["-e LIB", "remove-card"],
    ["-D -s LIB", "remove-all"],
    ["-K", "add-resident"],
    ["-S LIB", "add-files"],
  ];
  for (const [line, action] of actions) t.is((await read(line)).action, action, line);
});

test("invalid command lines are refused", async (t) => {
  const refusals: [string, string][] = [
    ["-Z", "unknown option -- Z / 1 usage"],
    ["-:", "unknown option -- : / 1 usage"],
    ["-lZ", "unknown option -- Z / 1 usage"],
    ["-é", "unknown option -- \udcc3 / 1 usage"],
    ["-s", "option requires an argument -- s / 1 usage"],
    ["-h", "option requires an argument -- h / 1 usage"],
    ["--nothing", "unknown option -- nothing / 1 usage"],
    ["--json=no -l", "unknown option -- json=no / 1 usage"],
    ["--cert-for-card", "option requires an argument -- cert-for-card / 1 usage"],
    ["--cert-for-card=", "option requires an argument -- cert-for-card / 1 usage"],
    ["-E sha9", 'Invalid hash algorithm "sha9" / 255 log'],
    ["-E sha9 -Z", 'Invalid hash algorithm "sha9" / 255 log'],
    ["-t bogus", "Invalid lifetime / 1 plain"],
    ["-l -D", "Invalid combination of actions / 255 log"],
    ["-Q -x", "Invalid combination of actions / 255 log"],
    ["--list-providers -l", "Invalid combination of actions / 255 log"],
    ["-l -L", "-l flag already specified / 255 log"],
    ["-X -x", "-X flag already specified / 255 log"],
    ["--json", "--json goes with -l, -L, -Q and --list-providers only. / 1 plain"],
    ["-l --cert-for-card C", "--cert-for-card goes with -s, or stands alone. / 1 plain"],
    ["--only", "option requires an argument -- only / 1 usage"],
    ["--write-public-keys", "option requires an argument -- write-public-keys / 1 usage"],
    ["--write-public-keys D -l", "Invalid combination of actions / 255 log"],
    ["--write-public-keys D f", "--write-public-keys takes no files but its folder. / 1 plain"],
    ["--only K", "--only goes with -s. / 1 plain"],
    ["-e LIB --only K", "--only goes with -s. / 1 plain"],
    ["-e LIB --cert-for-card C", "--cert-for-card goes with -s, or stands alone. / 1 plain"],
  ];
  for (const [line, expected] of refusals) t.is(await refusal(line), expected, line);
  t.regex(await refusal("--cert-for-card C file"), /takes no files/);
});
