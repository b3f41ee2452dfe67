import { symlinkSync, unlinkSync } from "node:fs";
import { basename, dirname } from "node:path";
import test from "ava";
import { hostilePin, makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { findModule } from "./module-path.ts";
import { refused } from "./test-hostile.ts";
import { makeRegistry, noUser, pinOf } from "./test-registry.ts";

test("a library is removed by any path to it, or by its old paths once its file is deleted", async (t) => {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace);
  const link = workspace.path("link.so");
  symlinkSync(module.path, link);
  const registry = makeRegistry(t);
  const first = await registry.add(link, pinOf(""));
  t.is(first.path, module.path);
  t.is(first.requested, link);
  const winding = `${dirname(module.path)}/./home/../${basename(module.path)}`;
  t.deepEqual(await registry.remove(winding), [first]);
  t.is((await refused(t, registry.remove(winding))).code, "not-loaded");
  for (const name of [module.path, link]) {
    const { path } = await makeHostileModule(workspace);
    const gone = await registry.add(path, pinOf(""));
    unlinkSync(path);
    t.deepEqual(await registry.remove(path), [gone]);
    t.is((await refused(t, registry.remove(name))).code, "not-loaded");
  }
  const last = await registry.add(link, pinOf(""));
  unlinkSync(module.path);
  t.deepEqual(await registry.remove(link), [last]);
});

test("a hint quotes the URI as it was given", async (t) => {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace, "login", "token-label=a$$b$&c");
  const registry = makeRegistry(t);
  const uri = `pkcs11:token=a$$b$%26c?module-path=${module.path}`;
  const provider = await registry.add(uri, pinOf(hostilePin));
  module.behave("login", "token-label=a$$b$&c", "lose-login");
  const [{ keyBlob } = { keyBlob: Buffer.alloc(0) }] = provider.keys;
  const signing = provider.sign(keyBlob, "ecdsa-sha2-nistp256", Buffer.from("data"), noUser);
  t.true((await refused(t, signing)).hint.endsWith(`ssh-add -s '${uri}'`));
});

test("a missing, forbidden or invalid library is refused with its own reason", async (t) => {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace);
  const registry = makeRegistry(t, { allowed: `${workspace.root}/*,!*/forbidden/*` });
  const code = async (path: string) => (await refused(t, registry.add(path, pinOf("")))).code;
  t.is(await code(workspace.path("nothing.so")), "no-such-file");
  t.is(await code("nothing.so"), "no-such-file");
  t.is(await code(""), "no-such-file");
  t.is(await code("/nul\0byte"), "no-such-file");
  t.is(await code(`${module.path}/inside`), "no-such-file");
  t.is(await code("/bin/sh"), "provider-not-allowed");
  const hidden = workspace.write("forbidden/x.so", "");
  symlinkSync(hidden, workspace.path("innocent.so"));
  t.is(await code(workspace.path("innocent.so")), "provider-not-allowed");
  const text = workspace.write("text.so", "not a library");
  const failure = await refused(t, registry.add(text, pinOf("")));
  t.is(failure.code, "not-a-pkcs11-module");
  t.regex(failure.message, /text\.so cannot be loaded as a library: .+\.$/);
  t.is(await code(workspace.home), "not-a-pkcs11-module");
  const plain = workspace.write("plain.c", "int nothing;\n");
  await workspace.expect("gcc", ["-shared", "-o", workspace.path("plain.so"), plain]);
  const other = await refused(t, registry.add(workspace.path("plain.so"), pinOf("")));
  t.is(other.code, "not-a-pkcs11-module");
  t.regex(other.message, /has no C_GetFunctionList\.$/);
});

test("libraries are listed in the order of loading, and removed together", async (t) => {
  const workspace = makeWorkspace(t);
  const [one, two] = [
    await makeHostileModule(workspace),
    await makeHostileModule(workspace, "login"),
  ];
  const registry = makeRegistry(t);
  await registry.add(two.path, pinOf(hostilePin));
  await registry.add(one.path, pinOf(""));
  await registry.add(two.path, pinOf(hostilePin));
  const paths = registry.list().map(({ path }) => path);
  t.deepEqual(paths, [two.path, one.path]);
  await registry.removeAll();
  t.deepEqual(registry.list(), []);
  for (const module of [one, two]) t.is(module.calls().at(-1), "finalize");
});

test("a library that is loading while all are removed is not added", async (t) => {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace);
  const listing = module.holdAt("slots");
  const registry = makeRegistry(t);
  const adding = refused(t, registry.add(module.path, pinOf("")));
  t.true(await listing.reached());
  await registry.removeAll();
  listing.goOn();
  t.is((await adding).code, "not-loaded");
  t.deepEqual(registry.list(), []);
  await registry.add(module.path, pinOf(""));
  t.is(registry.list().length, 1);
});

test("the libraries of this system are found", async (t) => {
  t.regex(await findModule("softhsm2"), /\/libsofthsm2\.so$/);
  t.regex(await findModule("SoftHSM2"), /\/libsofthsm2\.so$/);
  t.regex(await findModule("opensc"), /\/opensc-pkcs11\.so$/);
});
