import { createHash, generateKeyPairSync, type KeyObject } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { bytes } from "./arbitraries.ts";
import { Failure } from "./failure.ts";
import {
  algorithmName,
  type CurveName,
  type Ed25519PublicKey,
  type PublicKey,
} from "./public-key.ts";
import {
  decodeSignature,
  encodeSignature,
  type SignatureAlgorithm,
  signatureAlgorithm,
} from "./signature.ts";
import { signAsync, signSync } from "./signing.ts";
import { type WebauthnOptions, webauthnClientData, webauthnSignature } from "./test-webauthn.ts";
import { verifySignature } from "./verification.ts";
import { Reader, Writer } from "./wire.ts";

interface Pair {
  readonly publicKey: PublicKey;
  readonly privateKey: KeyObject;
  readonly algorithms: readonly SignatureAlgorithm[];
}

const base64 = (text: string | undefined) => Buffer.from(text ?? "", "base64url");

function rsaPair(): Pair {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const { n, e } = publicKey.export({ format: "jwk" });
  return {
    publicKey: { type: "rsa", n: base64(n), e: base64(e) },
    privateKey,
    algorithms: ["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"],
  };
}

function ecdsaPair(curve: CurveName, namedCurve: string): Pair {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
  const { x, y } = publicKey.export({ format: "jwk" });
  const point = Buffer.concat([Buffer.of(4), base64(x), base64(y)]);
  const algorithms = [`ecdsa-sha2-${curve}`] as const;
  return { publicKey: { type: "ecdsa", curve, point }, privateKey, algorithms };
}

function ed25519Pair(): Pair {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x } = publicKey.export({ format: "jwk" });
  const algorithms = ["ssh-ed25519"] as const;
  return { publicKey: { type: "ed25519", publicKey: base64(x) }, privateKey, algorithms };
}

const pairs = [
  rsaPair(),
  ecdsaPair("nistp256", "P-256"),
  ecdsaPair("nistp384", "P-384"),
  ecdsaPair("nistp521", "P-521"),
  ed25519Pair(),
];

test("only the key that signed verifies the signature", async (t) => {
  for (const { publicKey, privateKey, algorithms } of pairs) {
    for (const algorithm of algorithms) {
      const data = Buffer.from(`signed with ${algorithm}`);
      const signature = signSync(privateKey, algorithm, data);
      t.is(decodeSignature(signature).algorithm, algorithm);
      t.true(verifySignature(publicKey, signature, data), algorithm);
      t.true(verifySignature(publicKey, await signAsync(privateKey, algorithm, data), data));
      t.false(verifySignature(publicKey, signature, Buffer.from("something else")));
      for (const other of pairs) {
        if (other.publicKey !== publicKey) {
          t.false(verifySignature(other.publicKey, signature, data));
        }
      }
    }
  }
});

test("ECDSA signatures with short r or s are padded", (t) => {
  for (let round = 0; round < 300; round++) {
    const pair = pairs[1] as Pair;
    const data = Buffer.from(String(round));
    const signature = signSync(pair.privateKey, "ecdsa-sha2-nistp256", data);
    t.true(verifySignature(pair.publicKey, signature, data));
    t.is(decodeSignature(signature).raw.length, 64);
  }
});

test("decoding an encoded signature gives the same signature", (t) => {
  const raws: fc.Arbitrary<[SignatureAlgorithm, Buffer]> = fc.oneof(
    fc.tuple(fc.constantFrom<SignatureAlgorithm>("rsa-sha2-256", "ssh-rsa"), bytes(256)),
    fc.tuple(fc.constant<SignatureAlgorithm>("ecdsa-sha2-nistp521"), bytes(132, 132)),
    fc.tuple(fc.constant<SignatureAlgorithm>("ssh-ed25519"), bytes(64, 64)),
  );
  fc.assert(
    fc.property(raws, ([algorithm, raw]) => {
      t.deepEqual(decodeSignature(encodeSignature(algorithm, raw)), { algorithm, raw });
    }),
  );
});

test("verifySignature is false for arbitrary bytes", (t) => {
  fc.assert(
    fc.property(bytes(200), fc.nat({ max: pairs.length - 1 }), (blob, index) => {
      t.false(verifySignature((pairs[index] as Pair).publicKey, blob, Buffer.from("data")));
    }),
  );
});

test("flags select the hash of RSA keys and are ignored for other keys", (t) => {
  const [rsa, ecdsa, , , ed25519] = pairs.map(({ publicKey }) => publicKey) as PublicKey[];
  t.is(signatureAlgorithm(rsa as PublicKey, 0), "ssh-rsa");
  t.is(signatureAlgorithm(rsa as PublicKey, 2), "rsa-sha2-256");
  t.is(signatureAlgorithm(rsa as PublicKey, 4), "rsa-sha2-512");
  t.is(signatureAlgorithm(rsa as PublicKey, 6), "rsa-sha2-256");
  t.is(signatureAlgorithm(ecdsa as PublicKey, 4), "ecdsa-sha2-nistp256");
  t.is(signatureAlgorithm(ed25519 as PublicKey, 2), "ssh-ed25519");
  const sk = { type: "sk-ed25519", publicKey: Buffer.alloc(32), application: "ssh:" } as const;
  t.throws(() => signatureAlgorithm(sk, 0), { instanceOf: Failure, code: "unsupported" });
});

test("an r or s longer than the key is malformed", (t) => {
  const inner = new Writer().mpint(Buffer.alloc(33, 1)).mpint(Buffer.alloc(32, 1)).finish();
  const blob = new Writer().text("ecdsa-sha2-nistp256").string(inner).finish();
  t.throws(() => decodeSignature(blob), { instanceOf: Failure, code: "malformed" });
});

test("a FIDO signature covers the application, flags, counter and data", (t) => {
  const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest();
  const data = Buffer.from("a certificate");
  const tail = Buffer.from("0100000007", "hex");
  const signed = Buffer.concat([sha256("ssh:"), tail, sha256(data)]);
  for (const pair of [pairs[1] as Pair, pairs[4] as Pair]) {
    const application = "ssh:";
    const { publicKey } = pair;
    const key: PublicKey =
      publicKey.type === "ecdsa"
        ? { type: "sk-ecdsa", curve: "nistp256", point: publicKey.point, application }
        : { type: "sk-ed25519", publicKey: (publicKey as Ed25519PublicKey).publicKey, application };
    const plain = signSync(pair.privateKey, pair.algorithms[0] as SignatureAlgorithm, signed);
    const reader = new Reader(plain);
    reader.name();
    const blob = new Writer().text(algorithmName(key)).string(reader.string()).bytes(tail).finish();
    t.true(verifySignature(key, blob, data));
    t.false(verifySignature(key, blob, Buffer.from("another certificate")));
    t.false(verifySignature({ ...key, application: "https://evil" }, blob, data));
    t.false(verifySignature(key, blob.subarray(0, -1), data));
  }
});

test("a webauthn signature covers the application, origin, client data and extensions", (t) => {
  const data = Buffer.from("a login");
  const { publicKey, privateKey } = pairs[1] as Pair;
  const application = "example.org";
  const point = publicKey.type === "ecdsa" ? publicKey.point : Buffer.alloc(0);
  const key: PublicKey = { type: "sk-ecdsa", curve: "nistp256", point, application };
  const isValid = (options: WebauthnOptions, of: PublicKey = key, over = data) =>
    verifySignature(of, webauthnSignature(privateKey, application, data, options), over);
  t.true(isValid({}));
  t.true(isValid({ name: "webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" }));
  t.true(isValid({ flags: 0x81, extensions: "extended" }));
  t.false(isValid({}, key, Buffer.from("another login")));
  t.false(isValid({}, { ...key, application: "evil.org" }));
  t.false(isValid({}, { ...publicKey }));
  const clientData = webauthnClientData(data);
  const quoted = 'https://example.org","x":"';
  for (const wrong of [
    { origin: "https://evil.org" },
    { origin: quoted, clientData: webauthnClientData(data, quoted) },
    { clientData: clientData.replace("webauthn.get", "webauthn.create") },
    { clientData: ` ${clientData}` },
    { flags: 0x41 }, // with a new key's data
    { flags: 0x81 }, // with extensions that are not there
    { extensions: "extended" },
  ]) {
    t.false(isValid(wrong), JSON.stringify(wrong));
  }
  const cut = webauthnSignature(privateKey, application, data).subarray(0, -1);
  t.false(verifySignature(key, cut, data));
});
