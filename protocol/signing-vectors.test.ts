import test from "ava";
import { publicKey } from "../fixtures/vectors/index.ts";
import { parseKeyOrCertificate } from "./certificate.ts";
import {
  decodeSessionBind,
  encodeSessionBind,
  type SessionBind,
} from "./extensions/session-bind.ts";
import { recorded, recordedReply } from "./recorded.ts";
import { decodeSignature, signatureAlgorithm } from "./signature.ts";
import { verifySessionBind, verifySignature } from "./verification.ts";
import { Reader } from "./wire.ts";

const signed = recorded("sign");

for (const { name, words, request } of signed) {
  const signer = signerOf(words);

  test(`${name}: the signature by ${signer} is valid`, (t) => {
    t.deepEqual(request.keyBlob, publicKey(signer).blob);
    const key = parseKeyOrCertificate(request.keyBlob)?.key;
    const reply = recordedReply(name);
    if (key === undefined || reply.type !== "signature") return t.fail();
    t.true(verifySignature(key, reply.signature, request.data));
    t.false(verifySignature(key, reply.signature, Buffer.concat([request.data, Buffer.of(0)])));
    const { algorithm } = decodeSignature(reply.signature);
    t.is(signatureAlgorithm(key, request.flags), algorithm);
    if (key.type === "rsa") t.is<string, string>(algorithm, rsaAlgorithm(words));
  });
}

test("there are signatures by keys and certificates of every type", (t) => {
  const names = ["rsa", "ecdsa-256", "ecdsa-384", "ecdsa-521", "ed25519"];
  const signers = new Set(signed.map(({ words }) => signerOf(words)));
  const identities = names.flatMap((name) => [name, `${name}-cert`]);
  t.deepEqual([...signers].sort(), [...identities, "ca-ed25519", "ca-rsa"].sort());
  const flags = new Set(signed.map(({ request }) => request.flags));
  t.deepEqual([...flags].sort(), [0, 2, 4]);
});

test("a session binding is valid for its own session only", (t) => {
  for (const [name, bind] of binds()) {
    t.notThrows(() => verifySessionBind(bind), name);
    const sessionId = Buffer.from(bind.sessionId).reverse();
    const refused = { message: "Invalid signature of the host key on the session identifier." };
    t.throws(() => verifySessionBind({ ...bind, sessionId }), refused, name);
    t.is(bind.isForwarding, name === "login-forwarded.session-bind-2", name);
  }
});

test("decoding and encoding a session binding gives the same bytes", (t) => {
  for (const { name, request } of recorded("extension")) {
    t.is(request.name, "session-bind@openssh.com", name);
    t.deepEqual(encodeSessionBind(decodeSessionBind(request.body)), request.body, name);
  }
});

test("every login signs for a session that the connection is bound to", (t) => {
  const logins = signed.filter(({ name }) => name.startsWith("login-"));
  for (const { name, request } of logins) {
    const session = new Reader(request.data).string();
    const [login = ""] = name.split(".");
    const bound = [...binds()].filter(([bind]) => bind.startsWith(`${login}.`));
    t.true(
      bound.some(([, { sessionId }]) => sessionId.equals(session)),
      name,
    );
  }
  t.is(binds().size, logins.length + 1);
});

test("there are session bindings with host keys of each type and with a host certificate", (t) => {
  const hosts = {
    "login-rsa-host": "rsa-3071",
    "login-ecdsa-host": "ca-ecdsa-521",
    "login-certified-host": "host-cert",
  };
  for (const [login, host] of Object.entries(hosts)) {
    t.deepEqual(bindOf(`${login}.session-bind`).hostKey, publicKey(host).blob, login);
  }
  const plain = parseKeyOrCertificate(bindOf("login-ed25519-host.session-bind").hostKey);
  t.like(plain, { certificate: undefined, key: { type: "ed25519" } });
});

test("a forwarded agent is bound to the forwarding session, then to the one of the login", (t) => {
  const first = bindOf("login-forwarded.session-bind");
  const forwarding = bindOf("login-forwarded.session-bind-2");
  const login = bindOf("login-forwarded.session-bind-3");
  t.deepEqual(forwarding, { ...first, isForwarding: true });
  t.notDeepEqual(login.sessionId, forwarding.sessionId);
});

function binds(): Map<string, SessionBind> {
  const entries = recorded("extension").map(({ name, request }) => [name, request.body] as const);
  return new Map(entries.map(([name, body]) => [name, decodeSessionBind(body)]));
}

function bindOf(name: string): SessionBind {
  const bind = binds().get(name);
  if (bind === undefined) throw new Error(`no binding "${name}"`);
  return bind;
}

/** The name of the key that a command signs with. */
function signerOf(words: string[]): string {
  const file = words.find((_, at) => ["-i", "-T", "-f", "-s"].includes(words[at - 1] ?? ""));
  return file?.replace(/\.pub$/, "") ?? "";
}

/** The algorithm that a command selects for an RSA key. */
function rsaAlgorithm(words: string[]): string {
  const option = words.find((word) => word.startsWith("PubkeyAcceptedAlgorithms="));
  if (option !== undefined) return option.slice(option.indexOf("=") + 1);
  return words.includes("-T") ? "ssh-rsa" : "rsa-sha2-512";
}
