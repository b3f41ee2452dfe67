import test from "ava";
import { loadKoffi, tryAddOn } from "./add-ons.ts";

test("the C library is found, however koffi was loaded", (t) => {
  const getpid: unknown = loadKoffi().load(null).func("int getpid()");
  t.is(typeof getpid === "function" && getpid(), process.pid);
});

test("what is not there is no add-on", (t) => {
  t.is(tryAddOn("no-such-package/no-such-file.node"), undefined);
  t.truthy(tryAddOn("pkcs11js"));
});
