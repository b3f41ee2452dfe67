import { createECDH, createPrivateKey, createPublicKey } from "node:crypto";
import test from "ava";
import { publicKey } from "../fixtures/vectors/index.ts";
import type { Constraint, Hop } from "./constraints.ts";
import { Failure } from "./failure.ts";
import { identityBlob, type PrivateKey } from "./private-key.ts";
import { encodePublicKey } from "./public-key.ts";
import { recorded, recordedReply, recordings } from "./recorded.ts";
import { decodeReply, encodeReply } from "./replies.ts";
import { decodeRequest, encodeRequest } from "./requests.ts";

const requests = recordings.filter(({ direction }) => direction === "request");
const replies = recordings.filter(({ direction }) => direction === "reply");

test("there are all requests and replies that OpenSSH 9.2 sends", (t) => {
  const numbers = (some: typeof recordings) => [...new Set(some.map(({ bytes }) => bytes[0] ?? 0))];
  const sorted = (some: typeof recordings) => numbers(some).sort((a, b) => a - b);
  t.deepEqual(sorted(requests), [9, 11, 13, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27]);
  t.deepEqual(sorted(replies), [5, 6, 12, 14]);
});

test("decoding and encoding a request gives the same bytes", (t) => {
  for (const { name, bytes } of requests) {
    t.deepEqual(encodeRequest(decodeRequest(bytes)), bytes, name);
  }
});

test("decoding and encoding a reply gives the same bytes", (t) => {
  for (const { name, bytes } of replies) {
    t.deepEqual(encodeReply(decodeReply(bytes)), bytes, name);
  }
});

test("a truncated message and one with trailing bytes are refused", (t) => {
  for (const { name, bytes, direction } of recordings) {
    if (bytes[0] === 27) continue; // the data of an extension may have any length
    const decode = direction === "request" ? decodeRequest : decodeReply;
    const longer = Buffer.concat([bytes, Buffer.of(0)]);
    t.throws(() => decode(longer), { instanceOf: Failure }, name);
    const shorter = bytes.subarray(0, -2); // the last byte may be a complete constraint
    t.throws(() => decode(shorter), { instanceOf: Failure }, name);
  }
});

for (const { name, words, request } of recorded("add-identity")) {
  const file = words.at(-1) ?? "";
  const identity = name.endsWith("-2") ? `${file}-cert` : file;

  test(`${name}: ${identity} has the comment and constraints of its command`, (t) => {
    t.deepEqual(identityBlob(request.key), publicKey(identity).blob);
    t.deepEqual(encodePublicKey(request.key.publicKey), publicKey(file).blob);
    t.is(request.comment, publicKey(file).comment);
    const middleware = { type: "sk-provider", provider: "internal" } as const;
    const constraints = [...constraintsOf(words), ...(file.startsWith("sk-") ? [middleware] : [])];
    t.deepEqual(request.constraints, constraints);
    t.true(isKeyPair(request.key));
  });
}

test("a request to add a token has the command's library, PIN and constraints", (t) => {
  const added = recorded("add-smartcard-key");
  for (const { name, words, typed, request } of added) {
    t.is(request.provider, words.at(-1) ?? "", name);
    t.is(request.pin.toString(), typed[0] ?? "", name);
    t.deepEqual(request.constraints, constraintsOf(words), name);
  }
  t.is(added.length, 5);
});

test("a request to remove a token has no PIN", (t) => {
  const removed = recorded("remove-smartcard-key");
  for (const { words, request } of removed) {
    t.is(request.provider, words.at(-1) ?? "");
    t.is(request.pin.length, 0);
  }
  t.is(removed.length, 1);
});

test("a request to lock or unlock has the passphrase", (t) => {
  const locks = [...recorded("lock"), ...recorded("unlock")];
  for (const { name, typed, request } of locks) {
    t.is(request.passphrase.toString(), typed[0] ?? "", name);
  }
  t.is(locks.length, 3);
});

test("a request to remove an identity has its blob", (t) => {
  const removed = recorded("remove-identity");
  for (const { name, words, request } of removed) {
    const file = `${words.at(-1)}${name.endsWith("-2") ? "-cert" : ""}`;
    t.deepEqual(request.keyBlob, publicKey(file).blob, name);
  }
  t.is(removed.length, 10);
});

test("identities are listed in the order in which they were added", (t) => {
  const added = ["rsa", "ecdsa-256", "ecdsa-384", "ecdsa-521", "ed25519", "host"];
  const identities = [...added, "sk-ecdsa", "sk-ed25519"].flatMap((name) =>
    [name, `${name}-cert`].map((file) => ({
      keyBlob: publicKey(file).blob,
      comment: publicKey(name).comment,
    })),
  );
  t.deepEqual(recordedReply("full.list"), { type: "identities", identities });
  t.deepEqual(recordedReply("empty.list"), { type: "identities", identities: [] });
});

test("a token's keys are listed with their labels", (t) => {
  const reply = recordedReply("card.list");
  const identities = reply.type === "identities" ? reply.identities : [];
  const listed = new Set(identities.map(({ comment }) => comment));
  const labels = ["rsa2048 key", "p256 key", "p384 key", "p521 key"];
  t.deepEqual(
    labels.filter((label) => listed.has(label)),
    labels,
  );
});

/** The constraints of the options `-t`, `-c` and `-h`. */
function constraintsOf(words: string[]): Constraint[] {
  const seconds: Record<string, number> = { 600: 600, 3600: 3600, "1d2h3m4s": 93_784 };
  const constraints: Constraint[] = [];
  const life = words[words.indexOf("-t") + 1] ?? "";
  if (words.includes("-t")) constraints.push({ type: "lifetime", seconds: seconds[life] ?? -1 });
  if (words.includes("-c")) constraints.push({ type: "confirm" });
  const hops = words.filter((_, at) => words[at - 1] === "-h").map((word) => word.split(">"));
  const destinations = hops.map(([from, to]) =>
    to === undefined
      ? { from: { user: "", host: "", keys: [] }, to: hopOf(from) }
      : { from: hopOf(from), to: hopOf(to) },
  );
  if (hops.length > 0) constraints.push({ type: "restrict-destination", destinations });
  return constraints;
}

/** A host of the known_hosts file of the recordings. */
function hopOf(word = ""): Hop {
  const hosts: Record<string, string[]> = {
    "host1.example.org": ["ecdsa-256", "rsa-3071"],
    "host2.example.org": ["ecdsa-384"],
    "web.example.com": ["ca-ed25519"],
  };
  const [host = "", user = ""] = word.split("@").reverse();
  const names = hosts[host] ?? [];
  const keys = names.map((name) => ({
    keyBlob: publicKey(name).blob,
    isCa: name.startsWith("ca-"),
  }));
  return { user, host, keys };
}

/** Whether the secret fields match the public key; for a FIDO key, whether they have the usual form. */
function isKeyPair({ publicKey, secret }: PrivateKey): boolean {
  if (secret.type === "rsa" && publicKey.type === "rsa") {
    const integer = (bytes: Buffer) => BigInt(`0x${bytes.toString("hex")}`);
    const [p, q, iqmp] = [integer(secret.p), integer(secret.q), integer(secret.iqmp)];
    const product = integer(secret.d) * integer(publicKey.e);
    const isInverse = product % (p - 1n) === 1n && product % (q - 1n) === 1n;
    return p * q === integer(publicKey.n) && isInverse && (iqmp * q) % p === 1n;
  }
  if (secret.type === "ecdsa" && publicKey.type === "ecdsa") {
    const curve = { nistp256: "prime256v1", nistp384: "secp384r1", nistp521: "secp521r1" };
    const pair = createECDH(curve[publicKey.curve]);
    pair.setPrivateKey(secret.d);
    return pair.getPublicKey().equals(publicKey.point);
  }
  if (secret.type === "ed25519" && publicKey.type === "ed25519") {
    const prefix = Buffer.from("302e020100300506032b657004220420", "hex");
    const key = Buffer.concat([prefix, secret.seed]);
    const pair = createPrivateKey({ key, format: "der", type: "pkcs8" });
    const { x = "" } = createPublicKey(pair).export({ format: "jwk" });
    return Buffer.from(x, "base64url").equals(publicKey.publicKey);
  }
  if (secret.type === "sk-ecdsa" || secret.type === "sk-ed25519") {
    return secret.flags === 1 && secret.keyHandle.length === 64 && secret.reserved.length === 0;
  }
  return false;
}
