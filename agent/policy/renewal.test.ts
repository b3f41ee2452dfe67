import test from "ava";
import { type Certificate, forever } from "../../protocol/certificate.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import { generateKey, makeCa } from "../test-agent.ts";
import { supersedes } from "./renewal.ts";

const now = 1_800_000_000n;
const key = generateKey("ed25519");
const ca = makeCa();

const option = (name: string, data = "") => ({ name, data: Buffer.from(data) });
const older: Partial<Certificate> = {
  serial: 7n,
  principals: ["alice", "admin"],
  validAfter: now - 100n,
  validBefore: now + 100n,
  criticalOptions: [option("source-address", "10.0.0.1"), option("force-command", "ls")],
  extensions: [option("permit-pty"), option("login@example.org", "alice")],
};

function made(fields: Partial<Certificate>, by = ca, of = key) {
  return verifyKeyOrCertificate(by.certify(of.publicKey, { ...older, ...fields }));
}

const renewing: readonly [string, Partial<Certificate>][] = [
  ["the same but for its time", { validAfter: now, validBefore: now + 200n }],
  ["an end that is the same", {}],
  ["principals in another order", { principals: ["admin", "alice"] }],
  ["a smaller serial number", { serial: 1n, validAfter: now, validBefore: now + 200n }],
  ["an extension more", { extensions: [...(older.extensions ?? []), option("permit-user-rc")] }],
  ["an earlier begin and a later end", { validAfter: now - 500n, validBefore: now + 200n }],
];

for (const [what, fields] of renewing) {
  test(`a certificate supersedes another one: ${what}`, (t) => {
    t.true(supersedes(made(fields), made({}), now));
  });
}

const beside: readonly [string, Partial<Certificate>][] = [
  ["other principals", { principals: ["alice"] }],
  ["a principal more", { principals: ["alice", "admin", "bob"] }],
  ["no principals", { principals: [] }],
  ["an end that is earlier", { validBefore: now + 99n }],
  ["the same end, and an earlier begin", { validAfter: now - 101n }],
  ["a begin that is to come", { validAfter: now + 1n, validBefore: now + 200n }],
  ["a host's certificate", { type: "host" }],
  ["no critical options", { criticalOptions: [] }],
  ["a critical option less", { criticalOptions: [option("force-command", "ls")] }],
  [
    "a critical option with other data",
    { criticalOptions: [option("source-address", "10.0.0.2"), option("force-command", "ls")] },
  ],
  [
    "a critical option more",
    { criticalOptions: [...(older.criticalOptions ?? []), option("verify-required")] },
  ],
  ["an extension less", { extensions: [option("login@example.org", "alice")] }],
  [
    "an extension with other data",
    { extensions: [option("permit-pty"), option("login@example.org", "bob")] },
  ],
];

for (const [what, fields] of beside) {
  test(`a certificate stays beside another one: ${what}`, (t) => {
    t.false(supersedes(made(fields), made({}), now));
  });
}

test("only a certificate of the same key and CA supersedes a certificate", (t) => {
  t.false(supersedes(made({}, makeCa()), made({}), now));
  t.false(supersedes(made({}, ca, generateKey("ed25519")), made({}), now));
  const plain = { keyBlob: encodePublicKey(key.publicKey), certificate: undefined };
  t.false(supersedes(plain, made({}), now));
  t.false(supersedes(made({}), plain, now));
});

test("of two that never expire, the one that is added later supersedes the other", (t) => {
  const [first, second] = [made({ validBefore: forever }), made({ validBefore: forever })];
  t.true(supersedes(first, second, now));
  t.true(supersedes(second, first, now));
});
