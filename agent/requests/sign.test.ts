import test from "ava";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { generateKey, keyTypes, makeCa, refused, startAgent } from "../test-agent.ts";

const data = Buffer.from("data");

for (const type of keyTypes) {
  test(`a certificate that the agent lacks signs with its key: ${type}`, async (t) => {
    const client = await (await startAgent(t)).connect();
    const key = generateKey(type);
    const certificate = makeCa().certify(key.publicKey, { validBefore: 1n });
    await client.addIdentity(key, "alone");
    const signature = await client.sign(certificate, data);
    t.true(verifySignature(key.publicKey, signature, data));
    t.is((await client.identities()).length, 1);
  });
}

test("a certificate for a missing or removed key does not sign", async (t) => {
  const client = await (await startAgent(t)).connect();
  const [held, other] = [generateKey("ed25519"), generateKey("ed25519")];
  const ca = makeCa();
  await client.addIdentity(held, "held");
  await t.throwsAsync(client.sign(ca.certify(other.publicKey), data), refused);
  t.is((await client.failureReason())?.code, "key-not-found");
  await client.removeIdentity(encodePublicKey(held.publicKey));
  await t.throwsAsync(client.sign(ca.certify(held.publicKey), data), refused);
  t.is((await client.failureReason())?.code, "key-not-found");
});

test("a key's limits apply to certificates that the agent lacks", async (t) => {
  const agent = await startAgent(t, { prompter: { confirm: () => Promise.resolve(false) } });
  const client = await agent.connect();
  const key = generateKey("nistp256");
  await client.addIdentity(key, "guarded", [{ type: "confirm" }]);
  await t.throwsAsync(client.sign(makeCa().certify(key.publicKey), data), refused);
  t.is((await client.failureReason())?.code, "user-refused");
});
