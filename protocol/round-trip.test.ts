import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import * as any from "./arbitraries.ts";
import {
  decodeCertificate,
  encodeCertificate,
  identify,
  verifyCertificate,
} from "./certificate.ts";
import { decodeAddCertificate, encodeAddCertificate } from "./extensions/add-certificate.ts";
import { decodeFailureReason, encodeFailureReason } from "./extensions/failure-reason.ts";
import { decodeListProvidersReply, encodeListProvidersReply } from "./extensions/list-providers.ts";
import { decodeQueryReply, encodeQueryReply } from "./extensions/query.ts";
import {
  decodeSessionBind,
  encodeSessionBind,
  verifySessionBind,
} from "./extensions/session-bind.ts";
import { Failure } from "./failure.ts";
import { decodePublicKey, encodePublicKey } from "./public-key.ts";
import { decodeReply, encodeReply } from "./replies.ts";
import { decodeRequest, encodeRequest } from "./requests.ts";
import { decodeSignature } from "./signature.ts";

/** Decoding inverts encoding. */
function roundTrips<Value>(
  t: ExecutionContext,
  values: fc.Arbitrary<Value>,
  encode: (value: Value) => Buffer,
  decode: (bytes: Buffer) => unknown,
): void {
  fc.assert(
    fc.property(values, (value) => {
      t.deepEqual(decode(encode(value)), value);
    }),
  );
  t.pass();
}

test("every request comes back as it went", (t) => {
  roundTrips(t, any.request, encodeRequest, decodeRequest);
});

test("every reply comes back as it went", (t) => {
  roundTrips(t, any.reply, encodeReply, decodeReply);
});

test("every public key comes back as it went", (t) => {
  roundTrips(t, any.publicKey, encodePublicKey, decodePublicKey);
});

test("every certificate comes back as it went", (t) => {
  roundTrips(t, any.certificate, encodeCertificate, decodeCertificate);
});

test("every extension's message comes back as it went", (t) => {
  roundTrips(t, any.sessionBind, encodeSessionBind, decodeSessionBind);
  roundTrips(t, any.addCertificate, encodeAddCertificate, decodeAddCertificate);
  roundTrips(t, any.failureReason, encodeFailureReason, decodeFailureReason);
  roundTrips(t, any.providers, encodeListProvidersReply, decodeListProvidersReply);
  roundTrips(t, fc.array(any.name), encodeQueryReply, decodeQueryReply);
});

const decoders: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  decodeRequest,
  decodeReply,
  decodePublicKey,
  decodeCertificate,
  identify,
  verifyCertificate,
  decodeSignature,
  decodeSessionBind,
  decodeAddCertificate,
  decodeFailureReason,
  decodeListProvidersReply,
  decodeQueryReply,
  verifySessionBind: (bytes) => verifySessionBind(decodeSessionBind(bytes)),
};

/** Bytes that are nearly a message: one that was cut, or had a byte changed, or something added. */
const nearMisses: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.oneof(
      any.request.map(encodeRequest),
      any.reply.map(encodeReply),
      any.publicKey.map(encodePublicKey),
      any.certificate.map(encodeCertificate),
      any.sessionBind.map(encodeSessionBind),
      any.addCertificate.map(encodeAddCertificate),
      any.providers.map(encodeListProvidersReply),
    ),
    fc.nat(),
    fc.nat({ max: 255 }),
    fc.constantFrom("cut", "change", "add"),
  )
  .map(([message, place, value, damage]) => {
    const at = message.length === 0 ? 0 : place % message.length;
    if (damage === "cut") return message.subarray(0, at);
    if (damage === "add") return Buffer.concat([message, Buffer.of(value)]);
    const changed = Buffer.from(message);
    if (changed.length > 0) changed[at] = value;
    return changed;
  });

for (const [name, decode] of Object.entries(decoders)) {
  test(`${name} returns or throws a Failure, whatever the bytes`, (t) => {
    fc.assert(
      fc.property(fc.oneof(any.bytes(400), nearMisses), (bytes) => {
        try {
          decode(bytes);
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
        }
      }),
      { numRuns: 500 },
    );
    t.pass();
  });
}

test("a message that goes on after its end, or ends before it, is refused", (t) => {
  const isOpen = (message: Buffer) => message[0] === 27 || message[0] === 29;
  const isConstrained = (message: Buffer) => message[0] === 25 || message[0] === 26;
  const refuses = (decode: (bytes: Buffer) => unknown, message: Buffer) => {
    if (isOpen(message)) return;
    const longer = Buffer.concat([message, Buffer.of(0)]);
    t.throws(() => decode(longer), { instanceOf: Failure });
    // Less one constraint, a message is another good one.
    if (isConstrained(message)) return;
    t.throws(() => decode(message.subarray(0, -1)), { instanceOf: Failure });
  };
  const requests = any.request.map(encodeRequest);
  fc.assert(fc.property(requests, (message) => refuses(decodeRequest, message)));
  const replies = any.reply.map(encodeReply);
  fc.assert(fc.property(replies, (message) => refuses(decodeReply, message)));
});
