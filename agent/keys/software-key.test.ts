import test from "ava";
import { Failure } from "../../protocol/failure.ts";
import type { PrivateKey, SecretFields } from "../../protocol/private-key.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { generateKey, keyTypes } from "../test-agent.ts";
import { softwareSigner } from "./software-key.ts";

const malformed = { instanceOf: Failure, code: "malformed" };

for (const type of keyTypes) {
  test(`a ${type} key signs what its public key verifies`, async (t) => {
    const key = generateKey(type);
    const signer = await softwareSigner(key);
    const data = Buffer.from("data to be signed");
    for (const flags of type === "rsa" ? [0, 2, 4] : [0]) {
      const algorithm = signatureAlgorithm(key.publicKey, flags);
      t.true(verifySignature(key.publicKey, await signer.sign(algorithm, data), data));
    }
  });

  test(`a ${type} key with another's public key is malformed`, async (t) => {
    const { secret } = generateKey(type);
    const { publicKey } = generateKey(type);
    await t.throwsAsync(softwareSigner({ publicKey, secret, certificate: undefined }), malformed);
  });
}

function withSecret(key: PrivateKey, change: (secret: SecretFields) => SecretFields): PrivateKey {
  return { ...key, secret: change(key.secret) };
}

test("an RSA key with a damaged or missing number is malformed", async (t) => {
  const key = generateKey("rsa");
  const other = generateKey("rsa").secret;
  const otherPrime = other.type === "rsa" ? other.p : Buffer.alloc(0);
  const damages = [Buffer.alloc(0), Buffer.of(1), Buffer.of(3), Buffer.alloc(64, 0xff), otherPrime];
  // A wrong iqmp alone is found and mended by OpenSSL at each signature.
  await t.throwsAsync(
    softwareSigner(withSecret(key, (secret) => ({ ...secret, iqmp: Buffer.alloc(0) }))),
    malformed,
  );
  for (const name of ["d", "p", "q"] as const) {
    for (const damage of damages) {
      const damaged = withSecret(key, (secret) => ({ ...secret, [name]: damage }));
      await t.throwsAsync(softwareSigner(damaged), malformed, `${name} ${damage.length}`);
    }
  }
});

test("a private key of another type than its public key is malformed", async (t) => {
  const { publicKey } = generateKey("rsa");
  const { secret } = generateKey("nistp256");
  await t.throwsAsync(softwareSigner({ publicKey, secret, certificate: undefined }), malformed);
});

test("a key of a FIDO authenticator is unsupported", async (t) => {
  const publicKey = {
    type: "sk-ed25519",
    publicKey: Buffer.alloc(32),
    application: "ssh:",
  } as const;
  const secret = {
    type: "sk-ed25519",
    flags: 1,
    keyHandle: Buffer.from("handle"),
    reserved: Buffer.alloc(0),
  } as const;
  const code = "unsupported";
  await t.throwsAsync(softwareSigner({ publicKey, secret, certificate: undefined }), { code });
});
