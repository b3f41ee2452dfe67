import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import test from "ava";
import { projectRoot } from "../../fixtures/programs.ts";
import { loadKoffi, tryAddOn } from "../../openssh/add-ons.ts";
import { pkcs11js } from "../pkcs11/child/cryptoki.ts";

const require = createRequire(import.meta.url);

/** The files of a package that have been loaded, from their place in node_modules. */
function loadedOf(name: string): string[] {
  const folder = join(projectRoot, "node_modules", name, "/");
  const files = Object.keys(require.cache).filter((file) => file.startsWith(folder));
  return files.map((file) => file.slice(folder.length));
}

test.serial("of koffi and pkcs11js, the add-ons alone are loaded", (t) => {
  t.truthy(loadKoffi());
  t.deepEqual(loadedOf("koffi"), []);
  const machine = `${process.platform}-${process.arch}`;
  const koffi = loadedOf(`@koromix/koffi-${machine}`);
  t.deepEqual(koffi, [`${machine.replace("-", "_")}/koffi.node`]);
  t.is(pkcs11js.CKR_OK, 0);
  t.deepEqual(loadedOf("pkcs11js"), ["build/Release/pkcs11.node"]);
});

test("packages whose add-ons are loaded from inside them are pinned", (t) => {
  const manifest = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8"));
  for (const name of ["koffi", "pkcs11js"]) {
    t.regex(manifest.dependencies[name], /^\d+\.\d+\.\d+$/, name);
  }
});

test("the C library is found, however koffi was loaded", (t) => {
  const getpid: unknown = loadKoffi().load(null).func("int getpid()");
  t.is(typeof getpid === "function" && getpid(), process.pid);
});

test("a missing add-on is undefined", (t) => {
  t.is(tryAddOn("no-such-package/no-such-file.node"), undefined);
  t.truthy(tryAddOn("pkcs11js"));
});
