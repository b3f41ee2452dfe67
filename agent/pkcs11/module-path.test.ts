import { mkdirSync, symlinkSync } from "node:fs";
import { isAbsolute } from "node:path";
import test, { type ExecutionContext } from "ava";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { Failure } from "../../protocol/failure.ts";
import { findModule, moduleFolders } from "./module-path.ts";

/** Folders with these files in them, in the order in which they are first named. */
function prepare(t: ExecutionContext, ...files: string[]) {
  const workspace = makeWorkspace(t);
  for (const file of files) workspace.write(file, "");
  const names = new Set(files.map((file) => file.replace(/\/.*/, "")));
  const folders = [...names].map((name) => workspace.path(name));
  return { workspace, folders };
}

async function refusal(found: Promise<string>): Promise<Failure> {
  const error = await found.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof Failure) return error;
  throw new Error("It was found, or failed in another way.");
}

test("a library is found under each of its names, in that order", async (t) => {
  const { workspace, folders } = prepare(t, "a/card-pkcs11.so", "a/libcard.so", "a/card.so");
  t.is(await findModule("card", folders), workspace.path("a/card.so"));
  const second = prepare(t, "a/card-pkcs11.so", "a/libcard.so", "a/other.so", "a/card");
  t.is(await findModule("card", second.folders), second.workspace.path("a/libcard.so"));
  const third = prepare(t, "a/card-pkcs11.so", "a/libcard.so.1", "a/card.so.1");
  t.is(await findModule("card", third.folders), third.workspace.path("a/card-pkcs11.so"));
});

test("the first folder that has the library under any name wins", async (t) => {
  const { workspace, folders } = prepare(t, "a/other.so", "b/card-pkcs11.so", "c/card.so");
  t.is(await findModule("card", folders), workspace.path("b/card-pkcs11.so"));
});

test("case is ignored, but an exact match comes first", async (t) => {
  const { workspace, folders } = prepare(t, "a/libCard.so", "a/CARD-pkcs11.so");
  t.is(await findModule("cArd", folders), workspace.path("a/libCard.so"));
  const both = prepare(t, "a/CARD.so", "a/card.so", "a/cARD.so");
  t.is(await findModule("card", both.folders), both.workspace.path("a/card.so"));
});

test("without a name the library is p11-kit's", async (t) => {
  const { workspace, folders } = prepare(t, "a/card.so", "a/p11-kit-proxy.so");
  t.is(await findModule(undefined, folders), workspace.path("a/p11-kit-proxy.so"));
});

test("missing folders and dangling links are skipped", async (t) => {
  const { workspace, folders } = prepare(t, "a/x", "b/y", "c/real");
  mkdirSync(workspace.path("a/card.so"));
  symlinkSync("nowhere", workspace.path("b/card.so"));
  symlinkSync("real", workspace.path("c/card.so"));
  const places = [workspace.path("none"), workspace.path("a/x"), ...folders];
  t.is(await findModule("card", places), workspace.path("c/card.so"));
});

test("a missing library is refused with a hint", async (t) => {
  const { folders } = prepare(t, "a/card.so", "b/other.so");
  for (const name of ["none", "card.so", "libcard", "../a/card", "a/card", "", "car\0d"]) {
    const { code, message, hint } = await refusal(findModule(name, folders));
    t.is(code, "no-such-file", name);
    t.true(message.includes(JSON.stringify(name)), name);
    t.regex(hint, /module-path=/, name);
  }
  t.regex((await refusal(findModule(undefined, folders))).hint, /p11-kit/);
});

test("the system's folders are absolute, those of its architecture first", (t) => {
  t.is(moduleFolders("x64")[0], "/usr/lib/x86_64-linux-gnu/pkcs11");
  t.is(moduleFolders("arm64")[1], "/usr/lib/aarch64-linux-gnu");
  t.is(moduleFolders("unknown")[0], "/usr/lib64/pkcs11");
  t.true(moduleFolders().every(isAbsolute));
});
