/** Keys of SoftHSM that share their CKA_ID or have none: its private EC keys show no point. */
import test from "ava";
import { makeToken, tool } from "../../fixtures/softhsm.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { makeRegistry, noUser, pinOf, signWithKey } from "./test-registry.ts";

test("keys with one CKA_ID and one label sign with their own private keys", async (t) => {
  const types = ["p256", "rsa2048", "ed25519", "p256", "p384", "ed25519"] as const;
  const keys = types.map((type) => ({ type, label: "key", id: "01" }));
  const token = await makeToken(makeWorkspace(t), { keys });
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  t.is(provider.keys.length, types.length);
  for (const { keyBlob } of [...provider.keys, ...provider.keys]) {
    t.is(await signWithKey(provider, keyBlob, noUser), "signed");
  }
  t.deepEqual(provider.leftOut, []);
});

test("a public key with another CKA_ID than its private key signs", async (t) => {
  const keys = [{ type: "p256", label: "key", id: "01" }] as const;
  const token = await makeToken(makeWorkspace(t), { keys: [...keys] });
  await tool(token, ["--type", "pubkey", "--id", "01", "--set-id", "02"]);
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  const [key] = provider.keys;
  t.is(key?.id.toString("hex"), "02");
  t.is(await signWithKey(provider, key?.keyBlob ?? Buffer.alloc(0), noUser), "signed");
});
