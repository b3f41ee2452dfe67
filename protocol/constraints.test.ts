import test from "ava";
import { type Constraint, type Hop, readConstraints, writeConstraints } from "./constraints.ts";
import { Failure } from "./failure.ts";
import { fingerprint } from "./fingerprint.ts";
import { Reader, Writer } from "./wire.ts";

const keyBlob = new Writer().text("ssh-ed25519").string(Buffer.alloc(32)).finish();
const origin: Hop = { user: "", host: "", keys: [] };
const hop = (user: string, host = "host"): Hop => ({
  user,
  host,
  keys: [{ keyBlob, isCa: false }],
});

function decode(...constraints: Constraint[]): Constraint[] {
  const writer = new Writer();
  writeConstraints(writer, constraints);
  return readConstraints(new Reader(writer.finish()));
}

function restricted(count: number, user = ""): Constraint {
  const destinations = Array.from({ length: count }, () => ({ from: origin, to: hop(user) }));
  return { type: "restrict-destination", destinations };
}

const refused = { instanceOf: Failure };

test("the pattern of a user name is limited to 256 bytes", (t) => {
  t.notThrows(() => decode(restricted(1, "u".repeat(256))));
  t.throws(() => decode(restricted(1, "u".repeat(257))), { ...refused, code: "malformed" });
  t.throws(() => decode(restricted(1, "ü".repeat(129))), { ...refused, code: "malformed" });
});

test("destinations and certificates are limited to 1,024", (t) => {
  t.notThrows(() => decode(restricted(1024)));
  t.throws(() => decode(restricted(1025)), { ...refused, code: "too-large" });
  const associated = (count: number): Constraint => ({
    type: "associated-certs",
    certsOnly: false,
    certificates: Array.from({ length: count }, () => Buffer.alloc(0)),
  });
  t.notThrows(() => decode(associated(1024)));
  t.throws(() => decode(associated(1025)), { ...refused, code: "too-large" });
});

test("a NUL in the name of a user or host is refused", (t) => {
  for (const to of [hop("a\0b"), hop("", "a\0b")]) {
    const destinations = [{ from: origin, to }];
    t.throws(() => decode({ type: "restrict-destination", destinations }), refused);
  }
  t.deepEqual(decode({ type: "sk-provider", provider: "internal\0" }), [
    { type: "sk-provider", provider: "internal" },
  ]);
});

test("keys are chosen by fingerprints as ssh-add prints them", (t) => {
  const sha256 = fingerprint(keyBlob);
  const md5 = fingerprint(keyBlob, "md5");
  const choose = (...fingerprints: string[]) => decode({ type: "only-keys", fingerprints });
  t.deepEqual(choose(sha256, md5), [{ type: "only-keys", fingerprints: [sha256, md5] }]);
  const invalid = [`${sha256}=`, sha256.slice(1), md5.toUpperCase(), md5.slice(4), "", "SHA256:"];
  for (const one of invalid) t.throws(() => choose(sha256, one), { ...refused, code: "malformed" });
  t.throws(() => choose(), { ...refused, code: "malformed" });
  const many = Array.from({ length: 1025 }, () => md5);
  t.throws(() => choose(...many), { ...refused, code: "too-large" });
});
