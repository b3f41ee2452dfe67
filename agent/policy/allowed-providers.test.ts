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
