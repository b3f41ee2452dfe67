import test from "ava";
import { type Constraint, type Hop, readConstraints, writeConstraints } from "./constraints.ts";
import { Failure } from "./failure.ts";
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
