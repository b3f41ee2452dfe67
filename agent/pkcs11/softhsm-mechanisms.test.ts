import { appendFileSync } from "node:fs";
import test from "ava";
import { keysOf, makeToken } from "../../fixtures/softhsm.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { signatureFlags } from "../../protocol/numbers.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { verifySignature } from "../../protocol/verification.ts";
import type { Provider } from "./provider.ts";
import { refused } from "./test-hostile.ts";
import { makeRegistry, noUser, pinOf } from "./test-registry.ts";

const data = Buffer.alloc(256 * 1024, "what is signed");

/** Signs with the first key. @returns whether the signature is valid */
async function signs(provider: Provider, flags: number): Promise<boolean> {
  const blob = provider.keys[0]?.keyBlob ?? Buffer.alloc(0);
  const key = decodePublicKey(blob);
  if (key === undefined) throw new Error("the provider has no key");
  const signature = await provider.sign(blob, signatureAlgorithm(key, flags), data, noUser);
  return verifySignature(key, signature, data);
}

test("RSA signatures with the mechanisms that hash, where the token has them", async (t) => {
  const token = await makeToken(makeWorkspace(t), { keys: keysOf(["rsa2048"]) });
  const load = async (mechanisms: string) => {
    appendFileSync(token.conf, `slots.mechanisms = ${mechanisms}\n`);
    return makeRegistry(t, { env: token.env }).add(token.library, pinOf(token.pin));
  };
  const all = [0, signatureFlags.rsaSha256, signatureFlags.rsaSha512];
  const hashing = await load("CKM_SHA1_RSA_PKCS,CKM_SHA256_RSA_PKCS,CKM_SHA512_RSA_PKCS");
  for (const flags of [...all, ...all]) t.true(await signs(hashing, flags));
  const one = await load("CKM_SHA256_RSA_PKCS");
  for (const _ of ["first", "second"]) {
    t.true(await signs(one, signatureFlags.rsaSha256));
    const { code, message, hint } = await refused(t, signs(one, signatureFlags.rsaSha512));
    t.is(code, "unsupported");
    t.regex(message, /refuses to sign with rsa-sha2-512/);
    t.regex(hint, /PubkeyAcceptedAlgorithms -rsa-sha2-512\*/);
  }
  const other = await refused(t, signs(one, 0));
  t.regex(other.message, /refuses to sign with ssh-rsa/);
  t.is(other.hint, "Use another key.");
});

test("a key whose CKA_ALLOWED_MECHANISMS has only mechanisms that hash", async (t) => {
  const mechanisms = ["SHA256-RSA-PKCS", "SHA512-RSA-PKCS"];
  const keys = keysOf(["rsa2048"]).map((key) => ({ ...key, mechanisms }));
  const token = await makeToken(makeWorkspace(t), { keys });
  const provider = await makeRegistry(t, { env: token.env }).add(token.library, pinOf(token.pin));
  for (const flags of [signatureFlags.rsaSha256, signatureFlags.rsaSha512]) {
    t.true(await signs(provider, flags));
  }
  const failure = await refused(t, signs(provider, 0));
  t.is(failure.code, "unsupported");
});
