/** For property tests: arbitraries of all keys, certificates and messages. */
import fc from "fast-check";
import type { Certificate } from "./certificate.ts";
import type { Constraint, DestinationConstraint, Hop } from "./constraints.ts";
import type { AddCertificate } from "./extensions/add-certificate.ts";
import { agentIdLength } from "./extensions/agent-path.ts";
import type { FailureReason } from "./extensions/failure-reason.ts";
import type { ProviderDescription, ProviderState } from "./extensions/list-providers.ts";
import { providerStates } from "./extensions/list-providers.ts";
import type { RenewalDescription } from "./extensions/list-renewals.ts";
import {
  type UpstreamDescription,
  type UpstreamState,
  upstreamStates,
} from "./extensions/list-upstreams.ts";
import { type PrepareProvider, variablesOfLibraries } from "./extensions/prepare-provider.ts";
import type { SessionBind } from "./extensions/session-bind.ts";
import { type FailureCode, failureCodes } from "./failure.ts";
import { fingerprint } from "./fingerprint.ts";
import type { PrivateKey, SecretFields } from "./private-key.ts";
import {
  type CurveName,
  curves,
  encodePublicKey,
  mlDsaLengths,
  type PublicKey,
} from "./public-key.ts";
import type { Reply } from "./replies.ts";
import type { Request } from "./requests.ts";
import { encodeCertificate } from "./test-certificates.ts";
import { decodeText } from "./text.ts";

/** Any bytes. */
export function bytes(maxLength = 64, minLength = 0): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
}

/** Text without NUL, some of it decoded from invalid UTF-8. */
export const text = fc.oneof(
  fc.string().map((string) => string.replaceAll("\0", "")),
  fc.string({ unit: "binary" }).filter((string) => string.isWellFormed() && !string.includes("\0")),
  bytes(24).map((array) => decodeText(array.filter((byte) => byte !== 0))),
);

/** A name in printable US-ASCII. */
export const name = fc.string({ minLength: 1, maxLength: 40 }).map((string) => {
  const printable = string.replace(/[^!-~]/g, "x");
  return printable === "" ? "x" : printable;
});

const uint32 = fc.nat({ max: 0xffff_ffff });
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

/** The magnitude of a positive integer. */
export const magnitude = bytes(96, 1).map((array) => {
  if (array[0] === 0) array[0] = 1;
  return array;
});

/** The magnitude of an integer of 1,024 bits or more. */
const modulus = bytes(192, 128).map((array) => {
  array.writeUInt8(array.readUInt8(0) | 0x80, 0);
  return array;
});

const curveName = fc.constantFrom<CurveName>("nistp256", "nistp384", "nistp521");

function pointOf(curve: CurveName): fc.Arbitrary<Buffer> {
  const length = 2 * curves[curve].bytes;
  return bytes(length, length).map((both) => Buffer.concat([Buffer.of(4), both]));
}

const key32 = bytes(32, 32);

/** Any well-formed public key, though not a valid one: points need not be on their curve. */
export const publicKey: fc.Arbitrary<PublicKey> = fc.oneof(
  fc.record({ type: fc.constant("rsa" as const), n: modulus, e: magnitude }),
  curveName.chain((curve) =>
    fc.record({
      type: fc.constant("ecdsa" as const),
      curve: fc.constant(curve),
      point: pointOf(curve),
    }),
  ),
  fc.record({ type: fc.constant("ed25519" as const), publicKey: key32 }),
  fc.record({
    type: fc.constant("mldsa44-ed25519" as const),
    mlDsa: bytes(mlDsaLengths.publicKey, mlDsaLengths.publicKey),
    ed25519: key32,
  }),
  fc.record({
    type: fc.constant("dsa" as const),
    p: magnitude,
    q: bytes(20, 20).map((q) => {
      q[0] = 0x80;
      return q;
    }),
    g: magnitude,
    y: magnitude,
  }),
  fc.record({
    type: fc.constant("sk-ecdsa" as const),
    curve: fc.constant("nistp256" as const),
    point: pointOf("nistp256"),
    application: text,
  }),
  fc.record({ type: fc.constant("sk-ed25519" as const), publicKey: key32, application: text }),
);

const options = fc.array(fc.record({ name: text, data: bytes() }), { maxLength: 3 });

/** Any certificate, for a key of any type. */
function certificateFor(key: fc.Arbitrary<PublicKey>): fc.Arbitrary<Certificate> {
  return fc.record({
    key,
    nonce: bytes(),
    serial: uint64,
    type: fc.constantFrom("user" as const, "host" as const),
    keyId: text,
    principals: fc.array(text, { maxLength: 3 }),
    validAfter: uint64,
    validBefore: uint64,
    criticalOptions: options,
    extensions: options,
    reserved: bytes(),
    caKey: publicKey.filter(({ type }) => type !== "dsa").map(encodePublicKey),
    signature: bytes(),
  });
}

export const certificate = certificateFor(publicKey);

function secretFor(key: PublicKey): fc.Arbitrary<SecretFields> {
  switch (key.type) {
    case "rsa":
      return fc.record({
        type: fc.constant("rsa" as const),
        d: magnitude,
        iqmp: magnitude,
        p: magnitude,
        q: magnitude,
      });
    case "ecdsa":
      return fc.record({ type: fc.constant("ecdsa" as const), d: magnitude });
    case "ed25519":
      return fc.record({ type: fc.constant("ed25519" as const), seed: key32 });
    case "mldsa44-ed25519":
      return fc.record({ type: fc.constant(key.type), mlDsaSeed: key32, ed25519Seed: key32 });
    case "dsa":
      return fc.record({ type: fc.constant("dsa" as const), x: magnitude });
    case "sk-ecdsa":
    case "sk-ed25519":
      return fc.record({
        type: fc.constant(key.type),
        flags: fc.nat({ max: 255 }),
        keyHandle: bytes(),
        reserved: bytes(),
      });
  }
}

/** Any private key, with or without a certificate. */
export const privateKey: fc.Arbitrary<PrivateKey> = publicKey.chain((key) =>
  fc.record({
    publicKey: fc.constant(key),
    secret: secretFor(key),
    certificate: fc.option(certificateFor(fc.constant(key)).map(encodeCertificate), {
      nil: undefined,
    }),
  }),
);

const hostKeys = fc.record({ keyBlob: bytes(), isCa: fc.boolean() });

function hop(user: fc.Arbitrary<string>): fc.Arbitrary<Hop> {
  return fc.record({
    user,
    host: text.filter((host) => host !== ""),
    keys: fc.array(hostKeys, { minLength: 1, maxLength: 3 }),
  });
}

const origin: Hop = { user: "", host: "", keys: [] };

const destination: fc.Arbitrary<DestinationConstraint> = fc.record({
  from: fc.oneof(fc.constant(origin), hop(fc.constant(""))),
  to: hop(text),
});

const anyFingerprint = fc
  .record({ keyBlob: bytes(), hash: fc.constantFrom("sha256" as const, "md5" as const) })
  .map(({ keyBlob, hash }) => fingerprint(keyBlob, hash));

/** Any constraint. */
export const constraint: fc.Arbitrary<Constraint> = fc.oneof(
  fc.record({ type: fc.constant("lifetime" as const), seconds: uint32 }),
  fc.record({ type: fc.constant("confirm" as const) }),
  fc.record({
    type: fc.constant("restrict-destination" as const),
    destinations: fc.array(destination, { maxLength: 3 }),
  }),
  fc.record({
    type: fc.constant("associated-certs" as const),
    certsOnly: fc.boolean(),
    certificates: fc.array(bytes(), { maxLength: 3 }),
  }),
  fc.record({
    type: fc.constant("only-keys" as const),
    fingerprints: fc.array(anyFingerprint, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ type: fc.constant("keep-ended-certificate" as const) }),
  fc.record({ type: fc.constant("sk-provider" as const), provider: text }),
);

/** Any constraints, at most one of each type. */
export const constraints = fc.uniqueArray(constraint, {
  maxLength: 5,
  selector: ({ type }) => type,
});

/** Any request. */
export const request: fc.Arbitrary<Request> = fc.oneof(
  fc.record({ type: fc.constant("request-identities" as const) }),
  fc.record({
    type: fc.constant("sign" as const),
    keyBlob: bytes(),
    data: bytes(),
    flags: uint32,
  }),
  fc.record({
    type: fc.constant("add-identity" as const),
    key: privateKey,
    comment: text,
    constraints,
  }),
  fc.record({ type: fc.constant("remove-identity" as const), keyBlob: bytes() }),
  fc.record({ type: fc.constant("remove-all-identities" as const) }),
  fc.record({
    type: fc.constant("add-smartcard-key" as const),
    provider: text,
    pin: bytes(),
    constraints,
  }),
  fc.record({ type: fc.constant("remove-smartcard-key" as const), provider: text, pin: bytes() }),
  fc.record({ type: fc.constantFrom("lock" as const, "unlock" as const), passphrase: bytes() }),
  fc.record({ type: fc.constant("extension" as const), name, body: bytes() }),
  fc.record({ type: fc.constant("request-rsa-identities" as const) }),
  fc.record({ type: fc.constant("remove-all-rsa-identities" as const) }),
);

/** Any reply. */
export const reply: fc.Arbitrary<Reply> = fc.oneof(
  fc.record({ type: fc.constant("success" as const) }),
  fc.record({ type: fc.constant("failure" as const) }),
  fc.record({ type: fc.constant("extension-failure" as const) }),
  fc.record({ type: fc.constant("rsa-identities" as const) }),
  fc.record({
    type: fc.constant("identities" as const),
    identities: fc.array(fc.record({ keyBlob: bytes(), comment: text }), { maxLength: 5 }),
  }),
  fc.record({ type: fc.constant("signature" as const), signature: bytes() }),
  fc.record({ type: fc.constant("extension-response" as const), name, body: bytes() }),
);

export const sessionBind: fc.Arbitrary<SessionBind> = fc.record({
  hostKey: bytes(),
  sessionId: bytes(),
  signature: bytes(),
  isForwarding: fc.boolean(),
});

export const addCertificate: fc.Arbitrary<AddCertificate> = fc.record({
  certificate: bytes(),
  comment: text,
  replace: fc.boolean(),
  constraints,
});

export const failureReason: fc.Arbitrary<FailureReason> = fc.record({
  request: fc.nat({ max: 255 }),
  code: fc.constantFrom(...(Object.keys(failureCodes) as FailureCode[])),
  sentence: text,
  hint: text,
});

/** Its variables are in the order of the list of known ones. */
export const prepareProvider: fc.Arbitrary<PrepareProvider> = fc
  .record({
    provider: fc.string({ minLength: 1 }).filter((path) => !path.includes("\0")),
    env: fc.record({ OPENSC_CONF: text, PKCS11SPY: text, NFAST_HOME: text }, { requiredKeys: [] }),
  })
  .map(({ provider, env }) => ({ provider, environment: variablesOfLibraries(env) }));

const providerState = fc.constantFrom(...(Object.keys(providerStates) as ProviderState[]));

const provider = fc.record({
  path: text,
  requested: text,
  state: providerState,
  tokens: fc.array(fc.record({ label: text, manufacturer: text, model: text, serial: text }), {
    maxLength: 3,
  }),
  identities: fc.array(bytes(), { maxLength: 3 }),
  tokenStates: fc.array(providerState, { maxLength: 3 }),
  isReleased: fc.boolean(),
  leftOut: fc.array(fc.record({ object: text, reason: text, token: fc.nat({ max: 3 }) })),
});

/** Some of agents that end a record before its later fields. */
export const providers: fc.Arbitrary<ProviderDescription[]> = fc.array(
  fc
    .tuple(provider, fc.nat({ max: 3 }))
    .map(([{ tokenStates, isReleased, leftOut, ...first }, more]): ProviderDescription => {
      if (more === 0) return first;
      if (more === 1) return { ...first, tokenStates };
      if (more === 2) return { ...first, tokenStates, isReleased };
      const known = leftOut.map(({ token, ...one }) => ({
        ...one,
        token: token < first.tokens.length ? token : undefined,
      }));
      return { ...first, tokenStates, isReleased, leftOut: known };
    }),
  { maxLength: 3 },
);

export const upstreams: fc.Arbitrary<UpstreamDescription[]> = fc.array(
  fc.record({
    path: text,
    state: fc.constantFrom(...(Object.keys(upstreamStates) as UpstreamState[])),
    name: text,
    identities: fc.array(bytes(), { maxLength: 3 }),
  }),
  { maxLength: 3 },
);

export const agentPath: fc.Arbitrary<Buffer[]> = fc.array(
  fc
    .uint8Array({ minLength: agentIdLength, maxLength: agentIdLength })
    .map((id) => Buffer.from(id)),
  { maxLength: 16 },
);

const time = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

export const renewals: fc.Arbitrary<RenewalDescription[]> = fc.array(
  fc.record({
    keyBlob: bytes(),
    certificate: bytes(),
    state: fc.constantFrom("scheduled", "running"),
    lastTry: time,
    nextTry: time,
    lastError: text,
  }),
  { maxLength: 3 },
);
