import { createHash } from "node:crypto";
import { renameSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "ava";
import {
  allKeyTypes,
  importCertificate,
  keysOf,
  makeToken,
  publicKeyLine,
  removePrivateKey,
  removePublicKeys,
  type Token,
} from "../../fixtures/softhsm.ts";
import { sshKeygen } from "../../fixtures/system-programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { signatureFlags } from "../../protocol/numbers.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { Writer } from "../../protocol/wire.ts";
import type { CardKey, Provider } from "./provider.ts";
import { refused } from "./test-hostile.ts";
import { makeRegistry, noUser, pinOf, stateOf } from "./test-registry.ts";

const data = Buffer.from("what is signed");

/** The keys as `ssh-add -L` would list them, sorted: SoftHSM has no order. */
function lines(provider: Provider): string[] {
  return provider.keys
    .map(({ keyBlob, comment }) => {
      const length = keyBlob.readUInt32BE(0);
      const type = keyBlob.toString("latin1", 4, 4 + length);
      return `${type} ${keyBlob.toString("base64")} ${comment}`;
    })
    .sort();
}

/**
 * The same from pkcs11-tool, which must run before the token is loaded, as it needs it exclusively.
 */
async function linesOf(token: Token, ids = token.keys.map(({ id }) => id)): Promise<string[]> {
  const found: string[] = [];
  for (const id of ids) found.push(await publicKeyLine(token, id));
  return found.sort();
}

async function signs(provider: Provider, { keyBlob }: CardKey, flags = 0): Promise<boolean> {
  const key = decodePublicKey(keyBlob);
  if (key === undefined) throw new Error("a key blob cannot be read");
  const signature = await provider.sign(keyBlob, signatureAlgorithm(key, flags), data, noUser);
  return verifySignature(key, signature, data);
}

test("every key of a token is listed with its label, and signs", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(allKeyTypes) });
  const expected = await linesOf(token);
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  t.deepEqual(lines(provider), expected);
  t.like(provider.tokens, [{ label: token.label, serial: token.serial }]);
  t.is(await stateOf(provider), "ready");
  for (const key of provider.keys) t.true(await signs(provider, key), key.comment);
  const rsa = provider.keys.find(({ comment }) => comment.startsWith("rsa")) as CardKey;
  t.true(await signs(provider, rsa, signatureFlags.rsaSha256));
  t.true(await signs(provider, rsa, signatureFlags.rsaSha512));
});

test("concurrent signatures each cover their own data", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["rsa2048", "p256", "ed25519"]) });
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  const jobs = Array.from({ length: 90 }, async (_, at) => {
    const { keyBlob } = provider.keys[at % 3] as CardKey;
    const key = decodePublicKey(keyBlob);
    if (key === undefined) return false;
    const own = Buffer.from(`data ${at}`);
    const algorithm = signatureAlgorithm(key, signatureFlags.rsaSha256);
    return verifySignature(key, await provider.sign(keyBlob, algorithm, own, noUser), own);
  });
  t.true((await Promise.all(jobs)).every(Boolean));
});

test("ssh-keygen accepts a card's signature", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p384"]) });
  const line = await publicKeyLine(token, "01");
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  const { keyBlob } = provider.keys[0] as CardKey;
  // The format is that of OpenSSH's PROTOCOL.sshsig.
  const begin = () => new Writer().bytes(Buffer.from("SSHSIG"));
  const digest = createHash("sha512").update(data).digest();
  const toSign = begin().text("test").text("").text("sha512").string(digest).finish();
  const signature = await provider.sign(keyBlob, "ecdsa-sha2-nistp384", toSign, noUser);
  const head = begin().uint32(1).string(keyBlob).text("test").text("").text("sha512");
  const envelope = head.string(signature).finish().toString("base64").replace(/.{70}/g, "$&\n");
  const [first, last] = ["BEGIN", "END"].map((word) => `-----${word} SSH SIGNATURE-----`);
  const file = workspace.write("data.sig", `${first}\n${envelope}\n${last}\n`);
  const signers = workspace.write("signers", `someone ${line.split(" ").slice(0, 2).join(" ")}\n`);
  const args = ["-Y", "verify", "-f", signers, "-I", "someone", "-n", "test", "-s", file];
  const { status, stdout } = await workspace.run(sshKeygen(), args, { input: data });
  t.is(status, 0);
  t.regex(stdout, /^Good "test" signature for someone/);
});

test("a wrong PIN is refused with the card's name, and the PIN is overwritten", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { label: "my card", keys: keysOf(["p256"]) });
  const registry = makeRegistry(t, { env: token.env });
  const wrong = pinOf("0000000");
  const failure = await refused(t, registry.add(token.library, wrong));
  t.is(failure.code, "pin-incorrect");
  t.is(failure.message, 'The token "my card" refused the PIN.');
  t.deepEqual(registry.list(), []);
  const right = pinOf(token.pin);
  await registry.add(token.library, right);
  t.true([...wrong, ...right].every((byte) => byte === 0));
});

test("without a PIN keys are listed, and a signature says that the PIN is missing", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const expected = await linesOf(token);
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(""));
  t.deepEqual(lines(provider), expected);
  t.is(await stateOf(provider), "pin-needed");
  t.is((await refused(t, signs(provider, provider.keys[0] as CardKey))).code, "pin-required");
  const again = await registry.add(token.library, pinOf(token.pin));
  t.true(await signs(again, again.keys[0] as CardKey));
});

test("without a PIN a token that shows nothing is refused with that reason", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["rsa2048"]) });
  await removePublicKeys(token);
  const registry = makeRegistry(t, { env: token.env });
  t.is((await refused(t, registry.add(token.library, pinOf("")))).code, "pin-required");
});

test("keys are found by certificates, and RSA keys by themselves", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["rsa2048", "p256", "ed25519"]) });
  await importCertificate(token, "02");
  await importCertificate(token, "03");
  await removePublicKeys(token);
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  t.deepEqual(lines(provider), await linesOf(token));
  for (const key of provider.keys) t.true(await signs(provider, key), key.comment);
});

test("public keys without their private keys are left out", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256", "p384"]) });
  const expected = await linesOf(token, ["02"]);
  await removePrivateKey(token, "01");
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  t.deepEqual(lines(provider), expected);
  await registry.remove(token.library);
  await removePrivateKey(token, "02");
  const failure = await refused(t, registry.add(token.library, pinOf(token.pin)));
  t.is(failure.code, "no-usable-key");
});

test("a key without a label has the path as its comment", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: [{ type: "p256", label: "", id: "01" }] });
  const link = workspace.path("link.so");
  symlinkSync(token.library, link);
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(link, pinOf(token.pin));
  t.deepEqual(
    provider.keys.map(({ comment }) => comment),
    [link],
  );
});

test("of several tokens, those that take the PIN are loaded", async (t) => {
  const workspace = makeWorkspace(t);
  const one = await makeToken(workspace, { label: "one", keys: keysOf(["p256"]) });
  const same = { beside: one, pin: one.pin, keys: keysOf(["p384"]) };
  const two = await makeToken(workspace, { ...same, label: "two" });
  const other = await makeToken(workspace, { label: "other", beside: one, keys: keysOf(["p256"]) });
  const expected = [...(await linesOf(one)), ...(await linesOf(two))].sort();
  const others = await linesOf(other);
  const registry = makeRegistry(t, { env: one.env });
  const provider = await registry.add(one.library, pinOf(one.pin));
  t.deepEqual(provider.tokens.map(({ label }) => label).sort(), ["one", "two"]);
  t.deepEqual(lines(provider), expected);
  for (const key of provider.keys) t.true(await signs(provider, key));
  const third = await registry.add(one.library, pinOf(other.pin));
  t.deepEqual(lines(third), others);
  t.is((await refused(t, registry.add(one.library, pinOf("88888888")))).code, "pin-incorrect");
});

test("a token without keys is refused, and so is a library without a token", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace);
  const registry = makeRegistry(t, { env: token.env });
  const empty = await refused(t, registry.add(token.library, pinOf(token.pin)));
  t.is(empty.code, "no-usable-key");
  workspace.write("none/tokens/.keep", "");
  const conf = workspace.write(
    "none/softhsm2.conf",
    `directories.tokendir = ${workspace.path("none/tokens")}\n`,
  );
  const none = makeRegistry(t, { env: { SOFTHSM2_CONF: conf } });
  t.is((await refused(t, none.add(token.library, pinOf(token.pin)))).code, "no-token");
});

test("a token that is removed no longer signs, and signs when it is back and loaded", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const registry = makeRegistry(t, { env: token.env });
  const provider = await registry.add(token.library, pinOf(token.pin));
  const folder = join(dirname(token.conf), "tokens");
  renameSync(folder, `${folder}.away`);
  const failure = await refused(t, signs(provider, provider.keys[0] as CardKey));
  t.is(failure.code, "token-removed");
  t.is(await stateOf(provider), "card-absent");
  renameSync(`${folder}.away`, folder);
  const again = await registry.add(token.library, pinOf(token.pin));
  t.true(await signs(again, again.keys[0] as CardKey));
  t.is(await stateOf(again), "ready");
});

test("a failed reload leaves the loaded provider in place", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const registry = makeRegistry(t, { env: token.env });
  const first = await registry.add(token.library, pinOf(token.pin));
  t.is((await refused(t, registry.add(token.library, pinOf("wrong pin")))).code, "pin-incorrect");
  t.is(registry.get(first.path), first);
  t.true(await signs(first, first.keys[0] as CardKey));
  const second = await registry.add(token.library, pinOf(token.pin));
  t.deepEqual(registry.list(), [second]);
  t.true(await signs(second, second.keys[0] as CardKey));
  t.is((await refused(t, signs(first, first.keys[0] as CardKey))).code, "not-loaded");
});
