import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import * as random from "./arbitraries.ts";
import { decodeCertificate, parseKeyOrCertificate } from "./certificate.ts";
import { decodeAddCertificate, encodeAddCertificate } from "./extensions/add-certificate.ts";
import { decodeAgentPath, encodeAgentPath } from "./extensions/agent-path.ts";
import { decodeFailureReason, encodeFailureReason } from "./extensions/failure-reason.ts";
import { decodeListProvidersReply, encodeListProvidersReply } from "./extensions/list-providers.ts";
import { decodeListRenewalsReply, encodeListRenewalsReply } from "./extensions/list-renewals.ts";
import { decodeListUpstreamsReply, encodeListUpstreamsReply } from "./extensions/list-upstreams.ts";
import { decodePrepareProvider, encodePrepareProvider } from "./extensions/prepare-provider.ts";
import { decodeQueryReply, encodeQueryReply } from "./extensions/query.ts";
import { decodeSessionBind, encodeSessionBind } from "./extensions/session-bind.ts";
import { Failure } from "./failure.ts";
import { decodePublicKey, encodePublicKey } from "./public-key.ts";
import { decodeReply, encodeReply } from "./replies.ts";
import { decodeRequest, encodeRequest } from "./requests.ts";
import { decodeSignature } from "./signature.ts";
import { encodeCertificate } from "./test-certificates.ts";
import { verifyKeyOrCertificate, verifySessionBind } from "./verification.ts";

/** Checks that decoding is the inverse of encoding. */
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

test("decoding an encoded request gives the same request", (t) => {
  roundTrips(t, random.request, encodeRequest, decodeRequest);
});

test("decoding an encoded reply gives the same reply", (t) => {
  roundTrips(t, random.reply, encodeReply, decodeReply);
});

test("decoding an encoded public key gives the same key", (t) => {
  roundTrips(t, random.publicKey, encodePublicKey, decodePublicKey);
});

test("decoding an encoded certificate gives the same certificate", (t) => {
  roundTrips(t, random.certificate, encodeCertificate, decodeCertificate);
});

test("decoding an encoded extension message gives the same message", (t) => {
  roundTrips(t, random.sessionBind, encodeSessionBind, decodeSessionBind);
  roundTrips(t, random.addCertificate, encodeAddCertificate, decodeAddCertificate);
  roundTrips(t, random.failureReason, encodeFailureReason, decodeFailureReason);
  roundTrips(t, random.providers, encodeListProvidersReply, decodeListProvidersReply);
  roundTrips(t, random.renewals, encodeListRenewalsReply, decodeListRenewalsReply);
  roundTrips(t, random.upstreams, encodeListUpstreamsReply, decodeListUpstreamsReply);
  roundTrips(t, random.agentPath, encodeAgentPath, decodeAgentPath);
  roundTrips(t, random.prepareProvider, encodePrepareProvider, decodePrepareProvider);
  roundTrips(t, fc.array(random.name), encodeQueryReply, decodeQueryReply);
});

const decoders: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  decodeRequest,
  decodeReply,
  decodePublicKey,
  decodeCertificate,
  parseKeyOrCertificate,
  verifyKeyOrCertificate,
  decodeSignature,
  decodeSessionBind,
  decodeAddCertificate,
  decodeFailureReason,
  decodeListProvidersReply,
  decodePrepareProvider,
  decodeListRenewalsReply,
  decodeListUpstreamsReply,
  decodeAgentPath,
  decodeQueryReply,
  verifySessionBind: (bytes) => verifySessionBind(decodeSessionBind(bytes)),
};

/** Messages that are truncated, or have a byte changed or appended. */
const damaged: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.oneof(
      random.request.map(encodeRequest),
      random.reply.map(encodeReply),
      random.publicKey.map(encodePublicKey),
      random.certificate.map(encodeCertificate),
      random.sessionBind.map(encodeSessionBind),
      random.addCertificate.map(encodeAddCertificate),
      random.providers.map(encodeListProvidersReply),
      random.prepareProvider.map(encodePrepareProvider),
      random.renewals.map(encodeListRenewalsReply),
      random.upstreams.map(encodeListUpstreamsReply),
      random.agentPath.map(encodeAgentPath),
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
  test(`${name} returns or throws a Failure for any bytes`, (t) => {
    fc.assert(
      fc.property(fc.oneof(random.bytes(400), damaged), (bytes) => {
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

test("a truncated message and one with trailing bytes are refused", (t) => {
  const isOpen = (message: Buffer) => message[0] === 27 || message[0] === 29;
  const isConstrained = (message: Buffer) => message[0] === 25 || message[0] === 26;
  const refuses = (decode: (bytes: Buffer) => unknown, message: Buffer) => {
    if (isOpen(message)) return;
    const longer = Buffer.concat([message, Buffer.of(0)]);
    t.throws(() => decode(longer), { instanceOf: Failure });
    // Without its last constraint, the message is valid.
    if (isConstrained(message)) return;
    t.throws(() => decode(message.subarray(0, -1)), { instanceOf: Failure });
  };
  const requests = random.request.map(encodeRequest);
  fc.assert(fc.property(requests, (message) => refuses(decodeRequest, message)));
  const replies = random.reply.map(encodeReply);
  fc.assert(fc.property(replies, (message) => refuses(decodeReply, message)));
});

test("a list of providers that would be too long for a message names nothing left out", (t) => {
  const one = { object: "x".repeat(1000), reason: "may not sign", token: undefined };
  const first = {
    path: "/lib",
    requested: "/lib",
    state: "ready",
    tokens: [],
    identities: [],
  } as const;
  const listed = (count: number) => {
    const leftOut = Array.from({ length: count }, () => one);
    const [provider] = decodeListProvidersReply(
      encodeListProvidersReply([{ ...first, tokenStates: [], isReleased: false, leftOut }]),
    );
    return provider?.leftOut?.length;
  };
  t.is(listed(200), 200);
  t.is(listed(300), undefined);
});
