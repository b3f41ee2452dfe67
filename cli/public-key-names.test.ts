import test from "ava";
import fc from "fast-check";
import { text } from "../protocol/arbitraries.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import type { Identity } from "../protocol/replies.ts";
import { Writer } from "../protocol/wire.ts";
import { nameFiles } from "./public-key-names.ts";

/** An Ed25519 key. */
function identity(comment: string, number = 1): Identity {
  const keyBlob = new Writer().text("ssh-ed25519").string(Buffer.alloc(32, number)).finish();
  return { keyBlob, comment };
}

function namesOf(...identities: Identity[]): string[] {
  return nameFiles(identities).map(({ fileName }) => fileName);
}

/** What tells the name of a key apart. */
function short({ keyBlob }: Identity): string {
  return fingerprint(keyBlob)
    .slice(7)
    .replace(/[^A-Za-z0-9]/g, "")
    .slice(0, 8);
}

test("a file has the name of its key's comment, as far as that is a safe name", (t) => {
  const names: [string, string][] = [
    ["alice@host", "alice@host"],
    ["login key", "login-key"],
    ["Public key for PIV Authentication", "Public-key-for-PIV-Authentication"],
    ["/usr/lib/libykcs11.so", "usr-lib-libykcs11.so"],
    ["../../.ssh/authorized_keys", "ssh-authorized_keys"],
    ["-rf", "rf"],
    [".hidden", "hidden"],
    ["a\n\t\u001b[31m\u202eb", "a-31m-b"],
    ["%d/~$x'\"\\*", "d-x"],
    ["Schlüssel für 日本", "Schlüssel-für-日本"],
    ["u\u0308", "ü"],
    ["", "key"],
    ["...", "key"],
    ["/", "key"],
    ["x".repeat(300), "x".repeat(200)],
    ["ü".repeat(300), "ü".repeat(100)],
  ];
  for (const [comment, name] of names) t.deepEqual(namesOf(identity(comment)), [`${name}.pub`]);
});

test("keys with the same name are told apart, whatever their order", (t) => {
  const keys = [identity("login key", 1), identity("Login/key", 2), identity("other", 3)];
  const [one, two] = keys as [Identity, Identity];
  const names = [`login-key-${short(one)}.pub`, `Login-key-${short(two)}.pub`, "other.pub"];
  t.deepEqual(namesOf(...keys), names);
  t.deepEqual(namesOf(...keys.toReversed()), names.toReversed());
});

test("a key's name is never that of a certificate", (t) => {
  const key = identity("login-cert");
  t.deepEqual(namesOf(key), [`login-cert-${short(key)}.pub`]);
});

test("any comments give distinct names of ordinary files", (t) => {
  const comments = fc.array(fc.oneof(text, fc.constantFrom("a", "A", "a-cert", "")), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(comments, (all) => {
      const names = namesOf(...all.map((comment, number) => identity(comment, number)));
      t.is(new Set(names.map((name) => name.toLowerCase())).size, all.length);
      for (const name of names) {
        t.regex(name, /^[^-./\s\p{Cc}%~][^/\s\p{Cc}%~]*\.pub$/u);
        t.true(Buffer.byteLength(name) < 255);
      }
    }),
  );
});
