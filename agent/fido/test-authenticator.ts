/** For tests: keys of a software authenticator, and stand-ins for ssh-sk-helper. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { skDummy, sshKeygen } from "../../fixtures/system-programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { readPrivateKey } from "../../protocol/private-key.ts";
import { Reader } from "../../protocol/wire.ts";
import { skHelper } from "./helper.ts";

/** A key of the software authenticator, made by ssh-keygen. */
export async function makeSkKey(t: ExecutionContext, type: string, ...options: string[]) {
  const workspace = makeWorkspace(t);
  const args = ["-q", "-t", type, "-N", "", "-w", skDummy(), "-f", "key"];
  await workspace.expect(sshKeygen(), [...args, ...options.flatMap((option) => ["-O", option])]);
  const lines = readFileSync(workspace.path("key"), "latin1").split("\n");
  const armour = lines.filter((line) => !line.startsWith("-")).join("");
  const container = new Reader(Buffer.from(armour, "base64").subarray("openssh-key-v1\0".length));
  for (let field = 0; field < 3; field++) container.string();
  container.uint32();
  container.string();
  const plain = container.string();
  return readPrivateKey(new Reader(plain.subarray(8)));
}

/** A shell script that stands in for ssh-sk-helper. */
export function standIn(t: ExecutionContext, script: string, limit = 2000) {
  const folder = mkdtempSync(join(tmpdir(), "ca-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "helper");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o700);
  const environment = { ...process.env, SSH_SK_HELPER: path };
  return skHelper({ environment, limit, showMessages: false });
}
