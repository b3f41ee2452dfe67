/** Libraries that cannot be loaded, or see no token, for a reason outside them. */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { prepare, refused } from "./test-hostile.ts";
import { makeRegistry, pinOf } from "./test-registry.ts";

/** The failure of a library, without its path. */
async function load(t: ExecutionContext, path: string) {
  const { code, message, hint } = await refused(t, makeRegistry(t).add(path, pinOf("")));
  t.is(code, "not-a-pkcs11-module");
  const plain = (text: string) => text.replaceAll(path, "LIB");
  return { sentence: plain(message), hint: plain(hint) };
}

/** Compiles a library that needs another one, which is then deleted. */
async function makeDependent(t: ExecutionContext, dependency: string) {
  const workspace = makeWorkspace(t);
  const needed = workspace.write("needed.c", "int needed(void) { return 1; }\n");
  const source = workspace.write(
    "source.c",
    "int needed(void); int C_GetFunctionList(void) { return needed(); }\n",
  );
  const [library, other] = [workspace.path("lib.so"), workspace.path(dependency)];
  await workspace.expect("gcc", ["-shared", `-Wl,-soname,${dependency}`, "-o", other, needed]);
  await workspace.expect("gcc", ["-shared", "-fPIC", "-o", library, source, other]);
  rmSync(other);
  return library;
}

/** A copy of the hostile module with other bytes. */
async function makeCopy(t: ExecutionContext, change: (bytes: Buffer) => void) {
  const workspace = makeWorkspace(t);
  const { path } = await makeHostileModule(workspace);
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(workspace.path("copy.so"), bytes);
  return workspace.path("copy.so");
}

test("a library that needs a missing one is refused with its name", async (t) => {
  const { sentence, hint } = await load(t, await makeDependent(t, "libneeded.so.1"));
  t.is(sentence, "LIB cannot be loaded as a library: it needs libneeded.so.1, which is not found.");
  t.regex(hint, /Install the package that has libneeded\.so\.1\..* ldd LIB$/);
});

test("a library for musl is refused as such", async (t) => {
  const { sentence } = await load(t, await makeDependent(t, "libc.musl-x86_64.so.1"));
  t.regex(sentence, /it is built for another C library, musl\.$/);
});

const [bits, machine] = [4, 18];

for (const [what, change, reason] of [
  ["32 bits", (bytes: Buffer) => (bytes[bits] = 1), /is built for .*, and this agent runs on /],
  ["Sparc", (bytes: Buffer) => bytes.writeUInt16LE(2, machine), /ELF machine 2\), and this agent/],
  ["macOS", (bytes: Buffer) => bytes.writeUInt32BE(0xcffaedfe), /is built for macOS, and/],
  ["Windows", (bytes: Buffer) => bytes.write("MZ"), /is built for Windows, and/],
  ["a text", (bytes: Buffer) => bytes.write("#!/bin/sh"), /: it is not a shared library\.$/],
] as const) {
  test(`a library for another machine is refused as such: ${what}`, async (t) => {
    const { sentence, hint } = await load(t, await makeCopy(t, change));
    t.regex(sentence, reason);
    if (what !== "a text") t.regex(hint, /^Install the library's package for .+\.$/);
  });
}

test("a library for a newer C library is refused as such", async (t) => {
  const path = await makeCopy(t, (bytes) => {
    const at = bytes.indexOf("\0GLIBC_2.");
    const end = bytes.indexOf(0, at + 1);
    bytes.write("9".repeat(end - at - 9), at + 9);
  });
  const { sentence } = await load(t, path);
  t.regex(sentence, /it is built for a newer system, one with GLIBC_2\.9+\.$/);
});

test("a library with an undefined symbol is refused with its name", async (t) => {
  const workspace = makeWorkspace(t);
  const source = workspace.write("a.c", "extern int gone; int *C_GetFunctionList = &gone;\n");
  await workspace.expect("gcc", ["-shared", "-fPIC", "-o", workspace.path("a.so"), source]);
  const { sentence, hint } = await load(t, workspace.path("a.so"));
  t.regex(sentence, /undefined symbol: gone\.$/);
  t.regex(hint, /ldd -r LIB$/);
});

test("where a library does not start, the hint says what that one needs", async (t) => {
  const { workspace, module, registry } = await prepare(t, []);
  for (const [name, needed] of [
    ["libsoftokn3.so", /p11-kit.*x-init-reserved/],
    ["libopencryptoki.so.0.0.0", /systemctl enable --now pkcsslotd.*usermod -aG pkcs11/],
    ["libtpm2_pkcs11.so.1.9.0", /group tss.*\/dev\/tpmrm0/],
    ["libsofthsm2.so", /SOFTHSM2_CONF/],
  ] as const) {
    const path = workspace.path(name);
    copyFileSync(module.path, path);
    writeFileSync(`${path}.faults`, "initialize-error=0x6\n");
    const failure = await refused(t, registry.add(path, pinOf("")));
    t.regex(failure.message, /could not start \(CKR_FUNCTION_FAILED\)/);
    t.regex(failure.hint, needed);
  }
});

test("a library that uses pcscd, which does not run, is refused with that reason", async (t) => {
  for (const [name, words] of [
    ["libpcsclite.so.so", ["absent"]],
    ["libpcsclite.so.so", ["slots-error=0x30"]],
    ["other.so", ["absent"]],
  ] as const) {
    const workspace = makeWorkspace(t);
    const module = await makeHostileModule(workspace, ...words);
    const path = workspace.path(name);
    copyFileSync(module.path, path);
    writeFileSync(`${path}.faults`, `${words.join("\n")}\n`);
    const env = { PCSCLITE_CSOCK_NAME: workspace.path("pcscd.comm") };
    const failed = await refused(t, makeRegistry(t, { env }).add(path, pinOf("")));
    const isTold = name !== "other.so";
    t.is(/systemctl enable --now pcscd\.socket$/.test(failed.hint), isTold, failed.hint);
    if (words[0] === "absent") t.is(/and pcscd is not running\.$/.test(failed.message), isTold);
    workspace.write("pcscd.comm", "");
    const running = await refused(t, makeRegistry(t, { env }).add(path, pinOf("")));
    t.notRegex(running.hint, /systemctl/);
  }
});
