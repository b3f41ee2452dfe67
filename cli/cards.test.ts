/** Cards with the project's agent and the system's, on SoftHSM tokens. */
import { symlinkSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { sshAdd, sshAgent } from "../fixtures/programs.ts";
import { keysOf, makeToken, type Token, writePublicKey } from "../fixtures/softhsm.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { systemSshAgent } from "../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { certify, makeKey, runOurs } from "./test-agent.ts";

interface Card {
  workspace: Workspace;
  token: Token;
  library: string;
  /** The public key's file; `certify` takes its name without .pub. */
  publicKey: string;
  /** The CA's key file. */
  ca: string;
}

/** Starts an agent with a token with one key. */
async function prepare(t: ExecutionContext, program: string): Promise<Card> {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { label: "my card", keys: keysOf(["p256"]) });
  const publicKey = await writePublicKey(token, "01", "card.pub");
  const ca = await makeKey(workspace, "ca");
  const agent = await startAgent(workspace, { program, env: token.env });
  workspace.env.SSH_AUTH_SOCK = agent.socket;
  return { workspace, token, library: token.library, publicKey, ca };
}

const pin = ({ token }: Card) => ({ input: `${token.pin}\n` });
const certificate = (card: Card, validity?: string) =>
  certify(card.workspace, card.ca, card.workspace.path("card"), {
    keyId: "alice's card",
    ...(validity === undefined ? {} : { validity }),
  });

/** The key types in the output of `ssh-add -l`. */
async function types({ workspace }: Card): Promise<string[]> {
  const { stdout } = await runOurs(workspace, ["-l"]);
  return [...stdout.matchAll(/\((\S+)\)$/gm)].map(([, type = ""]) => type).sort();
}

test("a card is loaded, listed, unloaded and loaded again", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  const prompt = "Enter passphrase for PKCS#11: ";
  for (let round = 0; round < 2; round++) {
    const added = await runOurs(workspace, ["-s", library], pin(card));
    t.like(added, { stdout: "", stderr: `${prompt}Card added: ${library}\n`, status: 0 });
    t.deepEqual(await types(card), ["ECDSA"]);
    t.is((await runOurs(workspace, ["-T", card.publicKey])).status, 0);
    const removed = await runOurs(workspace, ["-D"]);
    t.regex(removed.stderr, /^Card removed: \/\S+\nAll identities removed\.\n$/);
    t.is(removed.status, 0);
    const { stdout } = await runOurs(workspace, ["--list-providers"]);
    t.is(stdout, "The agent has no providers.\n");
  }
  await runOurs(workspace, ["-s", library], pin(card));
  t.like(await runOurs(workspace, ["-qD"]), { stdout: "", stderr: "", status: 0 });
  await runOurs(workspace, ["-s", library], pin(card));
  t.like(await runOurs(workspace, ["-e", library]), { stderr: `Card removed: ${library}\n` });
});

test("refusals have a reason and a hint", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  const wrong = await runOurs(workspace, ["-s", library], { input: "0\n" });
  t.is(wrong.status, 1);
  t.regex(
    wrong.stderr,
    /: Could not add card "\S+": agent refused operation\nreason: .*PIN.*\nhint: .+\n$/,
  );
  const missing = await runOurs(workspace, ["-qs", "/usr/lib/nolib.so"], { input: "0\n" });
  t.regex(missing.stderr, /\nreason: .*\/usr\/lib\/nolib\.so.*\nhint: .+\n$/);
  const unloaded = await runOurs(workspace, ["-e", library]);
  t.regex(unloaded.stderr, /^Could not remove card .*\nreason: .*not loaded.*\nhint: .+\n$/);
  t.is(unloaded.status, 1);
  const unknown = await runOurs(workspace, ["-T", card.publicKey]);
  t.regex(unknown.stderr, /^Agent signature failed for .*\r\nreason: .+\nhint: .+\n$/);
});

test("certificates are loaded with a card", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  const path = await certificate(card);
  const args = ["-s", library];
  for (const more of [[path], ["--cert-for-card", path]]) {
    t.is((await runOurs(workspace, [...args, ...more], pin(card))).status, 0);
    t.deepEqual(await types(card), ["ECDSA", "ECDSA-CERT"]);
    await runOurs(workspace, ["-D"]);
  }
  t.is((await runOurs(workspace, ["-C", ...args, path], pin(card))).status, 0);
  t.deepEqual(await types(card), ["ECDSA-CERT"]);
  t.is((await runOurs(workspace, ["-T", path])).status, 0);
});

test("a certificate is attached to a loaded card's key, and renewed, without its PIN", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  await runOurs(workspace, ["-s", library], pin(card));
  const path = await certificate(card);
  for (let round = 0; round < 2; round++) {
    const attached = await runOurs(workspace, ["--cert-for-card", path]);
    const stderr = `Certificate added: ${path} (alice's card)\n`;
    t.deepEqual(attached, { stdout: "", stderr, status: 0, signal: null });
    t.deepEqual(await types(card), ["ECDSA", "ECDSA-CERT"]);
  }
  t.is((await runOurs(workspace, ["-T", path])).status, 0);
  await certificate(card, "-5m:+1h");
  const limited = await runOurs(workspace, ["--cert-for-card", path]);
  t.regex(limited.stderr, /^Certificate added: .*\nLifetime set to 01:0[45]:\d\d\n$/);
  const unlimited = await runOurs(workspace, ["-N", "--cert-for-card", path]);
  t.regex(unlimited.stderr, /^Certificate added: .*\n$/);
  t.like(await runOurs(workspace, ["-q", "--cert-for-card", path]), { stderr: "", status: 0 });
});

test("certificates that are invalid, expired or for another key are refused", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  const expired = await certificate(card, "20200101:20200102");
  for (const args of [
    ["-s", library, expired],
    ["-s", library, "--cert-for-card", expired],
    ["--cert-for-card", expired],
  ]) {
    const { stderr, status } = await runOurs(workspace, args);
    const hint = "hint: Get a new certificate from its CA.\n";
    t.is(stderr, `Certificate ${expired} has already expired\r\n${hint}`);
    t.is(status, 1);
  }
  const plain = await runOurs(workspace, ["--cert-for-card", card.publicKey]);
  const hint = "hint: Name the certificate's own file; ssh-keygen calls it NAME-cert.pub.\n";
  const words = `Failed to load certificate "${card.publicKey}": not a certificate\r\n${hint}`;
  t.is(plain.stderr, words);
  const missing = await runOurs(workspace, ["-s", library, "none.pub"]);
  const reason = "No such file or directory";
  t.is(missing.stderr, `Failed to load certificate "none.pub": ${reason}\r\n${hint}`);
  const path = await certificate(card);
  const stray = await runOurs(workspace, ["--cert-for-card", path]);
  t.regex(
    stray.stderr,
    /^Could not add certificate .*: agent refused operation\nreason: .+\nhint: /,
  );
  t.is(stray.status, 1);
  t.deepEqual(await types(card), []);
});

test("a plain public key among the certificates of a card is ignored", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library, publicKey } = card;
  const path = await certificate(card);
  const added = await runOurs(workspace, ["-s", library, publicKey, path], pin(card));
  const ignored = `Ignored ${publicKey}: not a certificate\n`;
  t.is(added.stderr, `${ignored}Enter passphrase for PKCS#11: Card added: ${library}\n`);
  t.is(added.status, 0);
  t.deepEqual(await types(card), ["ECDSA", "ECDSA-CERT"]);
  t.like(await runOurs(workspace, ["-q", "-s", library, publicKey], pin(card)), { status: 0 });
});

test("the certificate of a card comes through a pipe", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  const path = await certificate(card);
  const command = `exec 3<<END\n$(cat ${path})\nEND\n${sshAdd} -s ${library} /dev/fd/3`;
  const { stderr } = await workspace.run("sh", ["-c", command], pin(card));
  t.is(stderr, `Enter passphrase for PKCS#11: Card added: ${library}\n`);
  t.deepEqual(await types(card), ["ECDSA", "ECDSA-CERT"]);
});

test("a certificate for another card is reported, and is an error with --cert-for-card", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library, ca } = card;
  await makeKey(workspace, "other");
  const other = await certify(workspace, ca, workspace.path("other"), { keyId: "other" });
  const words = `Certificate ${other} fits no key of this token\n`;
  const operand = await runOurs(workspace, ["-s", library, other], pin(card));
  t.true(operand.stderr.endsWith(`Card added: ${library}\n${words}`));
  t.is(operand.status, 0);
  const named = await runOurs(workspace, ["-s", library, "--cert-for-card", other], pin(card));
  const [, keys = ""] = named.stderr.split(words);
  t.regex(keys, /^It is for the key SHA256:\S+ \(ED25519\); the agent has:\n256 .+ \(ECDSA\)\n$/);
  t.is(named.status, 1);
  t.deepEqual(await types(card), ["ECDSA"]);
});

test("providers, tokens and keys are listed on one line each", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library, token } = card;
  const path = await certificate(card);
  t.like(await runOurs(workspace, ["--list-providers"]), { status: 1 });
  await runOurs(workspace, ["-s", library, path], pin(card));
  const { stdout, status } = await runOurs(workspace, ["--list-providers"]);
  t.is(status, 0);
  const lines = stdout.trimEnd().split("\n");
  t.regex(lines[0] ?? "", /^provider \/\S+ ready$/);
  t.regex(lines[1] ?? "", /^token \/\S+ my card \(SoftHSM project, SoftHSM v2, [0-9a-f]{16}\)$/);
  t.true(lines[1]?.includes(token.serial));
  t.is(lines.filter((line) => /^key \/\S+ 256 SHA256:\S+ .+ \(ECDSA\)$/.test(line)).length, 1);
  const certified =
    /^certificate \/\S+ 256 SHA256:\S+ .+ \(ECDSA-CERT\) "alice's card" valid for ever$/;
  t.is(lines.filter((line) => certified.test(line)).length, 1);
  t.is(lines.length, 4);
});

test("a relative path is resolved in the caller's working directory", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  symlinkSync(library, workspace.path("card.so"));
  const added = await runOurs(workspace, ["-s", "card.so"], pin(card));
  t.regex(added.stderr, /: Card added: card\.so\n$/);
  t.like(await runOurs(workspace, ["-e", "./card.so"]), { stderr: "Card removed: ./card.so\n" });
});

test("with an agent of OpenSSH before 9.6, a card is loaded without its certificates", async (t) => {
  const card = await prepare(t, systemSshAgent());
  const { workspace, library } = card;
  const path = await certificate(card);
  const added = await runOurs(workspace, ["-s", library, path], pin(card));
  t.regex(added.stderr, /: Card added: \S+\nThe certificates were not added: .+\nhint: .+\n$/);
  t.is(added.status, 1);
  t.deepEqual(await types(card), ["ECDSA"]);
  t.is((await runOurs(workspace, ["-T", card.publicKey])).status, 0);
  const attached = await runOurs(workspace, ["--cert-for-card", path]);
  t.regex(attached.stderr, /^Could not add certificate .*\nreason: This agent .*\nhint: .*\n$/);
  const listed = await runOurs(workspace, ["--list-providers"]);
  t.regex(listed.stderr, /^Could not list providers: .*\nreason: This agent .*\nhint: .*\n$/);
  t.is(listed.status, 1);
});

test("cancelling the PIN prompt keeps the loaded card", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  await runOurs(workspace, ["-qs", library], pin(card));
  const programs = [workspace.write("cancel", "#!/bin/sh\nexit 1\n", 0o700), "/nowhere/askpass"];
  for (const program of programs) {
    const env = { SSH_ASKPASS: program, SSH_ASKPASS_REQUIRE: "force" };
    const { stderr, status } = await runOurs(workspace, ["-s", library], { env });
    t.true(stderr.includes(`Could not add card "${library}": no PIN was entered\n`), stderr);
    t.is(status, 1);
    t.is((await runOurs(workspace, ["-T", card.publicKey])).status, 0);
  }
});

test("-D removes the keys of a library and of its URI", async (t) => {
  const card = await prepare(t, sshAgent);
  const { workspace, library } = card;
  for (const provider of [library, `pkcs11:id=%01?module-path=${library}`]) {
    t.is((await runOurs(workspace, ["-qs", provider], pin(card))).status, 0);
  }
  const removed = await runOurs(workspace, ["-D"]);
  t.regex(
    removed.stderr,
    /^Card removed: pkcs11:\S+\nCard removed: \/\S+\nAll identities removed\.\n$/,
  );
  t.is(removed.status, 0);
});

test("with OpenSSH 9.2's agent, a library that stays loaded after -D is explained", async (t) => {
  const card = await prepare(t, systemSshAgent());
  const { workspace, library } = card;
  await runOurs(workspace, ["-s", library], pin(card));
  t.is((await runOurs(workspace, ["-D"])).stderr, "All identities removed.\n");
  const again = await runOurs(workspace, ["-s", library], pin(card));
  t.is(again.status, 1);
  t.true(again.stderr.endsWith(`try first: ssh-add -e ${library}\n`));
  t.is((await runOurs(workspace, ["-e", library])).status, 0);
  t.is((await runOurs(workspace, ["-s", library], pin(card))).status, 0);
});
