import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { FolderWatch } from "./folder-watch.ts";

test("changes in and on the way to a folder in the home folder are noticed", async (t) => {
  const home = makeWorkspace(t).path("home");
  const folder = `${home}/.ssh/certificates`;
  let changes = 0;
  const isOfInterest = (name: string) => name.endsWith(".pub");
  const folderWatch = new FolderWatch(folder, isOfInterest, () => changes++, home);
  t.teardown(() => folderWatch.close());
  const notices = async (act: () => void) => {
    const before = changes;
    act();
    const isNoticed = await eventually(() => changes > before);
    await folderWatch.follow();
    return isNoticed;
  };
  await folderWatch.follow();
  t.true(await notices(() => mkdirSync(folder)));
  t.true(await notices(() => writeFileSync(`${folder}/key.pub`, "")));
  const moved = `${home}/moved`;
  t.true(
    await notices(() => {
      renameSync(dirname(folder), moved);
      mkdirSync(dirname(folder));
    }),
  );
  t.true(await notices(() => symlinkSync(`${moved}/certificates`, folder)));
  t.true(await notices(() => writeFileSync(`${moved}/certificates/second.pub`, "")));
  const before = changes;
  for (const name of ["other", ".ssh/key.pub", "moved/certificates/other"]) {
    writeFileSync(`${home}/${name}`, "");
  }
  t.true(await notices(() => writeFileSync(`${moved}/certificates/third.pub`, "")));
  t.is(changes, before + 1);
});
