import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import test from "ava";
import { projectRoot } from "../../fixtures/programs.ts";
import { loadKoffi } from "../../openssh/add-ons.ts";

const require = createRequire(import.meta.url);

/** The files of a package that have been loaded, from their place in node_modules. */
function loadedOf(name: string): string[] {
  const folder = join(projectRoot, "node_modules", name, "/");
  const files = Object.keys(require.cache).filter((file) => file.startsWith(folder));
  return files.map((file) => file.slice(folder.length));
}

test.serial("of koffi, the add-on alone is loaded", (t) => {
  t.truthy(loadKoffi());
  t.deepEqual(loadedOf("koffi"), []);
  const machine = `${process.platform}-${process.arch}`;
  const koffi = loadedOf(`@koromix/koffi-${machine}`);
  t.deepEqual(koffi, [`${machine.replace("-", "_")}/koffi.node`]);
});

test("koffi, whose add-on is loaded from inside a package, is pinned", (t) => {
  const manifest = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8"));
  t.regex(manifest.dependencies.koffi, /^\d+\.\d+\.\d+$/);
});

test("no installed package needs an install script where koffi's add-on comes built", (t) => {
  const lock = JSON.parse(readFileSync(join(projectRoot, "package-lock.json"), "utf8"));
  const packages: [string, Record<string, unknown>][] = Object.entries(lock.packages);
  const installed = packages.filter(([, entry]) => entry.dev !== true);
  const withScript = installed.filter(([, entry]) => entry.hasInstallScript === true);
  t.deepEqual(
    withScript.map(([place]) => place),
    ["node_modules/koffi"],
  );
  for (const machine of ["linux-x64", "linux-arm64"]) {
    const version: unknown = lock.packages[`node_modules/@koromix/koffi-${machine}`]?.version;
    t.is(version, lock.packages["node_modules/koffi"].version, machine);
  }
});

test("the C library is found, however koffi was loaded", (t) => {
  const getpid: unknown = loadKoffi().load(null).func("int getpid()");
  t.is(typeof getpid === "function" && getpid(), process.pid);
});
