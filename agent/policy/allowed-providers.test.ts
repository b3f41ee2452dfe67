import test from "ava";
import { defaultAllowedProviders, parseAllowedProviders } from "./allowed-providers.ts";

test("without -P, libraries in the system's library folders may be loaded", (t) => {
  const allowed = parseAllowedProviders(defaultAllowedProviders);
  t.true(allowed.allows("/usr/lib/softhsm/libsofthsm2.so"));
  t.true(allowed.allows("/usr/lib64/opensc-pkcs11.so"));
  t.true(allowed.allows("/usr/lib/x86_64-linux-gnu/pkcs11/deep/er.so"));
  t.true(allowed.allows("/usr/local/lib/libykcs11.so"));
  t.false(allowed.allows("/home/user/evil.so"));
  t.false(allowed.allows("/tmp/usr/lib/evil.so"));
  t.false(allowed.allows("/usr/share/evil.so"));
});

test("a negated pattern forbids a library, wherever it is in the list", (t) => {
  for (const list of ["!*bad*,/usr/lib*/*", "/usr/lib*/*,!*bad*"]) {
    const allowed = parseAllowedProviders(list);
    t.false(allowed.allows("/usr/lib/bad.so"));
    t.true(allowed.allows("/usr/lib/good.so"));
  }
});

test("an empty list and a list of negated patterns allow nothing", (t) => {
  for (const list of ["", ",", "!/tmp/*"]) {
    t.false(parseAllowedProviders(list).allows("/usr/lib/good.so"));
  }
});

test("a question mark matches one byte, and other characters are not special", (t) => {
  const allowed = parseAllowedProviders("/opt/?.so,/opt/[ab].so");
  t.true(allowed.allows("/opt/a.so"));
  t.true(allowed.allows("/opt/[ab].so"));
  t.false(allowed.allows("/opt/ab.so"));
  t.false(allowed.allows("/opt/.so"));
  t.false(allowed.allows("/opt/ä.so"));
  t.true(parseAllowedProviders("/opt/??.so").allows("/opt/ä.so"));
});

/** The list in a hint for a shell. */
function listOf(hint: string): string {
  return /-P '(.*)'$/.exec(hint)?.[1]?.replaceAll("'\\''", "'") ?? "";
}

test("the hint for a refused library has the list that allows it too", (t) => {
  const { hintFor } = parseAllowedProviders(defaultAllowedProviders);
  const list = "/usr/lib*/*,/usr/local/lib*/*,/opt/lib.so";
  t.is(hintFor("/opt/lib.so"), `Start ssh-agent with: -P '${list}'`);
  for (const path of ["/opt/a,b.so", "/opt/a*b.so", "/opt/it's mine.so", "/opt/ä,.so", "/!.so"]) {
    const allowed = parseAllowedProviders(listOf(hintFor(path)));
    t.true(allowed.allows(path) && allowed.allows("/usr/lib/good.so"), path);
    t.false(allowed.allows("/opt/other.so"), path);
  }
  t.is(parseAllowedProviders("").hintFor("/opt/lib.so"), "Start ssh-agent with: -P /opt/lib.so");
});

test("the hint for a library that -P forbids leaves that pattern out, and says so", (t) => {
  const hint = parseAllowedProviders("/opt/*,!*bad*,!/x").hintFor("/opt/bad.so");
  const start = "Start ssh-agent with: -P '/opt/*,!/x,/opt/bad.so'";
  t.is(hint, `The list of -P forbids it with !*bad*, which is left out here. ${start}`);
});

test("for a systemd service, the hint has the lines that override its command", (t) => {
  const service = { unit: "ssh-agent.service", words: ["/my bin/ssh-agent", "-D", "-t", "8h"] };
  const hint = parseAllowedProviders("/usr/lib*/*", service).hintFor("/opt/50%/$x.so");
  const edit = 'Restart ssh-agent.service after "systemctl --user edit ssh-agent.service"';
  const line = 'ExecStart="/my bin/ssh-agent" -D -t 8h -P /usr/lib*/*,/opt/50%%/$$x.so';
  t.is(hint, `${edit} with three lines: [Service], ExecStart= and ${line}`);
});
