import test from "ava";
import fc from "fast-check";
import { pkcs11Uri } from "../../openssh/pkcs11-arbitraries.ts";
import { Failure, type FailureCode, failureCodes } from "../../protocol/failure.ts";
import {
  type ChildReply,
  type ChildRequest,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  PinRequired,
  secretOf,
} from "./messages.ts";

const id = fc.integer({ min: 0, max: 0xffffffff });
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: "grapheme", maxLength: 40 });
const algorithm = fc.constantFrom(
  "ssh-rsa" as const,
  "rsa-sha2-256" as const,
  "rsa-sha2-512" as const,
  "ecdsa-sha2-nistp256" as const,
  "ecdsa-sha2-nistp384" as const,
  "ecdsa-sha2-nistp521" as const,
  "ssh-ed25519" as const,
);
const token = fc.record({ label: text, manufacturer: text, model: text, serial: text });
const known = fc.record({
  description: token,
  identity: text,
  login: fc.constantFrom("none" as const, "pin" as const, "protected-path" as const),
  slot: bytes,
});
const key = fc.record({
  keyBlob: bytes,
  label: text,
  id: bytes,
  alwaysAuthenticate: fc.boolean(),
  hidden: fc.boolean(),
  token: id,
});
const leftOut = fc.record({
  object: text,
  reason: text,
  token: fc.option(id, { nil: undefined }),
});
const inventory = fc
  .record({
    tokens: fc.array(known, { minLength: 1, maxLength: 4 }),
    keys: fc.array(key, { maxLength: 4 }),
    leftOut: fc.array(leftOut, { maxLength: 4 }),
  })
  .map(({ tokens, keys, leftOut }) => ({
    tokens,
    keys: keys.map((it) => ({ ...it, token: it.token % tokens.length })),
    leftOut: leftOut.map((it) => ({
      ...it,
      token: it.token === undefined ? undefined : it.token % tokens.length,
    })),
  }));
const state = fc.constantFrom(
  "ready" as const,
  "card-absent" as const,
  "pin-needed" as const,
  "module-failed" as const,
);

const request: fc.Arbitrary<ChildRequest> = fc.oneof(
  fc.record({
    type: fc.constant("open" as const),
    id,
    path: text,
    environment: fc.array(fc.record({ name: text, value: text }), { maxLength: 4 }),
  }),
  fc.record({
    type: fc.constant("load" as const),
    id,
    path: text,
    selection: fc.option(pkcs11Uri, { nil: undefined }),
    only: fc.option(fc.array(text, { maxLength: 3 }), { nil: undefined }),
    keepPin: id,
    pin: bytes,
  }),
  fc.record({ type: fc.constant("restore" as const), id, path: text, keepPin: id, inventory }),
  fc.record({
    type: fc.constant("sign" as const),
    id,
    key: id,
    algorithm,
    data: bytes,
    pin: bytes,
  }),
  fc.record({ type: fc.constant("login" as const), id, token: id, pin: bytes }),
  fc.record({ type: fc.constant("forget" as const), id }),
  fc.record({ type: fc.constant("state" as const), id }),
  fc.record({ type: fc.constant("missing" as const), id, token: id }),
  fc.record({ type: fc.constant("finish" as const), id }),
);
const reply: fc.Arbitrary<ChildReply> = fc.oneof(
  fc.record({ type: fc.constant("loaded" as const), id, inventory }),
  fc.record({ type: fc.constant("done" as const), id }),
  fc.record({
    type: fc.constant("missing" as const),
    id,
    keys: fc.option(fc.array(id, { maxLength: 4 }), { nil: undefined }),
  }),
  fc.record({ type: fc.constant("signed" as const), id, signature: bytes }),
  fc.record({
    type: fc.constant("state" as const),
    id,
    tokens: fc.array(state, { maxLength: 4 }),
  }),
);

test("decoding inverts encoding", (t) => {
  fc.assert(
    fc.property(request, (value) => t.deepEqual(decodeRequest(encodeRequest(value)), value)),
  );
  fc.assert(fc.property(reply, (value) => t.deepEqual(decodeReply(encodeReply(value)), value)));
});

test("every failure arrives with its code, its sentence and its hint", (t) => {
  for (const code of Object.keys(failureCodes) as FailureCode[]) {
    const failure = new Failure(code, "It is so – often.", "Wait.");
    const decoded = decodeReply(encodeReply({ type: "failed", id: 7, failure }));
    if (decoded.type !== "failed") return t.fail();
    t.is(decoded.id, 7);
    t.is(decoded.failure.code, code);
    t.is(decoded.failure.message, failure.message);
    t.is(decoded.failure.hint, failure.hint);
  }
  t.pass();
});

test("a failure for a missing PIN tells whether one try is left", (t) => {
  for (const isLastTry of [false, true]) {
    const failure = new PinRequired("It asks.", "Answer.", isLastTry);
    const decoded = decodeReply(encodeReply({ type: "failed", id: 7, failure }));
    if (decoded.type !== "failed") return t.fail();
    t.true(decoded.failure instanceof PinRequired);
    t.deepEqual(decoded.failure, failure);
  }
  t.pass();
});

test("a PIN is in a message as raw bytes", (t) => {
  const pin = Buffer.from("\u00e9 8472-secret");
  for (const request of [
    { type: "login", id: 1, token: 0, pin },
    { type: "load", id: 1, path: "/", selection: undefined, only: undefined, keepPin: 0, pin },
  ] as const) {
    const message = encodeRequest(request);
    t.true(message.subarray(-pin.length).equals(pin));
    secretOf(decodeRequest(message))?.fill(0);
    t.false(message.includes("8472"));
  }
});

test("a header with a wrong field is malformed", (t) => {
  const withHeader = (header: unknown, rest = Buffer.alloc(0)) => {
    const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(json.length);
    return Buffer.concat([length, json, rest]);
  };
  const done = { type: "done", id: 1, parts: [], fields: {} };
  t.deepEqual(decodeReply(withHeader(done)), { type: "done", id: 1 });
  const failed = (wrong: object) => {
    const failure = { code: "internal", message: "", hint: "", isLastTry: false, ...wrong };
    return { type: "failed", id: 1, parts: [], fields: { failure } };
  };
  t.is(decodeReply(withHeader(failed({}))).type, "failed");
  for (const wrong of [
    "",
    "null",
    "[]",
    '{"type":"done","id":1,"parts":[],"fields":{}',
    { ...done, fields: undefined },
    { ...done, parts: undefined },
    { ...done, parts: {} },
    { ...done, id: -1 },
    { ...done, id: 1.5 },
    { ...done, id: 2 ** 32 },
    { ...done, id: "1" },
    { ...done, parts: [1] },
    { ...done, type: "toString" },
    { ...done, type: "signed" },
    { ...done, type: "signed", fields: { signature: 0 } },
    { ...done, type: "state", fields: { tokens: ["constructor"] } },
    { ...done, type: "loaded", fields: { inventory: { tokens: [null], keys: [], leftOut: [] } } },
    failed({ isLastTry: 0 }),
    failed({ code: "__proto__" }),
    failed({ hint: undefined }),
  ]) {
    const bytes = withHeader(wrong);
    t.throws(
      () => decodeReply(bytes),
      { instanceOf: Failure, code: "malformed" },
      bytes.toString(),
    );
  }
  const spare = withHeader(done, Buffer.of(0));
  t.throws(() => decodeReply(spare), { instanceOf: Failure, code: "malformed" });
});

test("a key or an object with an invalid token index is malformed", (t) => {
  const keyBlob = Buffer.from("key");
  const key = {
    keyBlob,
    label: "",
    id: keyBlob,
    alwaysAuthenticate: false,
    hidden: false,
    token: 0,
  };
  const object = { object: "certificate", reason: "no private key", token: 0 };
  for (const wrong of [{ keys: [key] }, { leftOut: [object] }]) {
    const inventory = { tokens: [], keys: [], leftOut: [], ...wrong };
    const loaded = encodeReply({ type: "loaded", id: 1, inventory });
    t.throws(() => decodeReply(loaded), { instanceOf: Failure, code: "malformed" });
  }
});

test("arbitrary bytes fail as malformed", (t) => {
  fc.assert(
    fc.property(bytes, (value) => {
      for (const decode of [decodeRequest, decodeReply]) {
        try {
          decode(value);
        } catch (error) {
          t.true(error instanceof Failure && error.code === "malformed");
        }
      }
    }),
  );
  t.throws(() => decodeRequest(Buffer.concat([encodeRequest({ type: "state", id: 1 }), value(0)])));
});

function value(byte: number): Buffer {
  return Buffer.from([byte]);
}
