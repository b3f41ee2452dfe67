import { chmodSync, chownSync, copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import test, { type ExecutionContext } from "ava";
import { makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { libraryFault } from "./library-file.ts";
import { isLoaded, killChild, refused, sign } from "./test-hostile.ts";
import { makeRegistry, pinOf } from "./test-registry.ts";

const isRoot = process.getuid?.() === 0;

/** A library in two folders of its own, which only its user may write. */
async function nested(workspace: Workspace): Promise<string> {
  const path = workspace.path("outer/inner/lib.so");
  mkdirSync(dirname(path), { recursive: true });
  for (const folder of [dirname(path), workspace.path("outer")]) chmodSync(folder, 0o755);
  copyFileSync((await makeHostileModule(workspace)).path, path);
  chmodSync(path, 0o644);
  return path;
}

/** The result of adding a library: "added", or code, sentence and hint of the failure. */
async function answer(t: ExecutionContext, path: string) {
  const registry = makeRegistry(t);
  const adding = registry.add(path, pinOf(""));
  if (await adding.catch(() => undefined)) return { code: "added", sentence: "", hint: "" };
  const { code, message, hint } = await refused(t, adding);
  return { code, sentence: message, hint };
}

test("a library or folder that others may write is refused", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await nested(workspace);
  t.is((await answer(t, path)).code, "added");
  for (const mode of [0o664, 0o646]) {
    chmodSync(path, mode);
    const { code, sentence, hint } = await answer(t, path);
    t.is(code, "provider-not-allowed");
    t.is(sentence, `Others may write to the library ${path}.`);
    t.true(hint.endsWith(`chmod go-w ${path}`), hint);
  }
  chmodSync(path, 0o644);
  for (const folder of [dirname(path), workspace.path("outer")]) {
    for (const mode of [0o775, 0o757]) {
      chmodSync(folder, mode);
      const { code, sentence, hint } = await answer(t, path);
      t.is(code, "provider-not-allowed");
      t.is(sentence, `Others may write to the folder ${folder} of the library ${path}.`);
      t.true(hint.endsWith(`chmod go-w ${folder}`), hint);
    }
    chmodSync(folder, 0o755);
  }
  t.is((await answer(t, path)).code, "added");
});

test("a folder with the sticky bit is allowed, except directly around the library", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await nested(workspace);
  chmodSync(workspace.path("outer"), 0o1777);
  t.is((await answer(t, path)).code, "added");
  chmodSync(dirname(path), 0o1777);
  const { code, sentence, hint } = await answer(t, path);
  t.is(code, "provider-not-allowed");
  t.is(sentence, `Others may write to the folder ${dirname(path)} of the library ${path}.`);
  t.is(hint, "Put the library into a folder that only root or you may write to.");
});

test("a library or a folder of another user is refused", async (t) => {
  const others = { uid: 4321, mode: 0o755 };
  const own = { uid: 1000, mode: 0o755 };
  const root = { uid: 0, mode: 0o755 };
  const fault = (file: typeof own, folder: typeof own) =>
    libraryFault(
      "/a/lib.so",
      [
        { path: "/a/lib.so", ...file, kind: "file" },
        { path: "/a", ...folder, kind: "folder" },
        { path: "/", ...root, kind: "folder" },
      ],
      1000,
    );
  for (const owner of [own, root])
    for (const above of [own, root]) t.is(fault(owner, above), undefined);
  t.is(
    fault(others, root)?.message,
    "The library /a/lib.so belongs to user 4321, neither to root nor to you.",
  );
  t.is(fault(others, root)?.code, "provider-not-allowed");
  t.is(
    fault(own, others)?.message,
    "The folder /a of the library /a/lib.so belongs to user 4321, neither to root nor to you.",
  );
  if (!isRoot) return;
  const workspace = makeWorkspace(t);
  const path = await nested(workspace);
  for (const place of [path, dirname(path), workspace.path("outer")]) {
    chownSync(place, 4321, 4321);
    const { code, sentence, hint } = await answer(t, path);
    t.is(code, "provider-not-allowed");
    t.true(sentence.endsWith("belongs to user 4321, neither to root nor to you."), sentence);
    t.true(hint.endsWith(`chown root ${place}`), hint);
    chownSync(place, 0, 0);
  }
  t.is((await answer(t, path)).code, "added");
});

test("a path to something other than a file is refused at once", async (t) => {
  const workspace = makeWorkspace(t);
  const fifo = workspace.path("fifo.so");
  await workspace.expect("mkfifo", [fifo]);
  symlinkSync("/dev/zero", workspace.path("zero.so"));
  const begun = Date.now();
  for (const path of [fifo, workspace.path("zero.so"), "/dev/null", workspace.home]) {
    const { code, sentence } = await answer(t, path);
    t.is(code, "not-a-pkcs11-module");
    t.regex(sentence, /^\/\S+ is a (fifo|device|folder), not a library\.$/);
  }
  t.true(Date.now() - begun < 20_000); // a library has 30 seconds to load
});

test("a library is checked again whenever it is reloaded", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await nested(workspace);
  const registry = makeRegistry(t);
  const provider = await registry.add(path, pinOf(""));
  t.is(await sign(provider), "signed");
  chmodSync(dirname(path), 0o777);
  await killChild(provider);
  t.is(await sign(provider), "provider-not-allowed");
  chmodSync(dirname(path), 0o755);
  t.is(await sign(provider), "signed");
});

test("a library that is replaced while it is being loaded is not used", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await nested(workspace);
  const other = workspace.path("outer/inner/other.so");
  copyFileSync(path, other);
  const source = workspace.write(
    "exchange.c",
    `#include <stdio.h>
    static void *functions[100];
    __attribute__((constructor)) static void exchange(void) {
      rename(${JSON.stringify(other)}, ${JSON.stringify(path)});
    }
    unsigned long C_GetFunctionList(void **list) { *list = functions; return 0; }`,
  );
  await workspace.expect("gcc", ["-shared", "-fPIC", "-o", path, source]);
  const { code, sentence } = await answer(t, path);
  t.is(code, "provider-not-allowed");
  t.is(sentence, `The library ${path} was replaced while it was being loaded.`);
  t.false(isLoaded(path));
});
