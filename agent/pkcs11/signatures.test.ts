import { createHash } from "node:crypto";
import test from "ava";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { verifySignature } from "../../protocol/verification.ts";
import type { Provider } from "./provider.ts";
import { loaded, prepare, refused, sign } from "./test-hostile.ts";
import { noUser, pinOf } from "./test-registry.ts";

/** CKM_ECDSA_SHA256 as the only mechanism. */
const onlyHashing = "mechanism=0x1044";

/** Signs data with the first key. @returns whether the signature is valid */
async function signs(provider: Provider, data: Buffer): Promise<boolean> {
  const blob = provider.keys[0]?.keyBlob ?? Buffer.alloc(0);
  const key = decodePublicKey(blob);
  if (key === undefined) throw new Error("the provider has no key");
  const signature = await provider.sign(blob, signatureAlgorithm(key, 0), data, noUser);
  return verifySignature(key, signature, data);
}

const refusals = {
  CKR_DATA_INVALID: 0x20,
  CKR_DATA_LEN_RANGE: 0x21,
  CKR_FUNCTION_NOT_SUPPORTED: 0x54,
  CKR_KEY_SIZE_RANGE: 0x62,
  CKR_KEY_TYPE_INCONSISTENT: 0x63,
  CKR_KEY_FUNCTION_NOT_PERMITTED: 0x68,
  CKR_MECHANISM_INVALID: 0x70,
  CKR_MECHANISM_PARAM_INVALID: 0x71,
};

for (const [call, late] of [["C_SignInit"], ["C_Sign", "mechanism-late"]] as const) {
  test(`a key whose mechanism ${call} refuses signs with one that hashes, from then on`, async (t) => {
    const { module, registry } = await prepare(t, []);
    const signCalls = () => module.calls().filter((one) => one === "sign").length;
    for (const [name, value] of Object.entries(refusals)) {
      module.behave(onlyHashing, `mechanism-error=${value}`, late ?? "");
      const provider = await registry.add(module.path, pinOf(""));
      t.is(await sign(provider), "signed", name);
      const before = signCalls();
      t.is(await sign(provider), "signed", name);
      t.is(signCalls() - before, 1, name);
    }
  });
}

test("the mechanism that worked may change", async (t) => {
  const { module, provider } = await loaded(t, [onlyHashing]);
  t.is(await sign(provider), "signed");
  module.behave();
  t.is(await sign(provider), "signed");
  module.behave(onlyHashing);
  t.is(await sign(provider), "signed");
});

test("a key that needs its PIN each time is tried with the same PIN", async (t) => {
  const faults = ["login", "always-authenticate", "tries=3", onlyHashing];
  const { module, provider } = await loaded(t, [...faults, "mechanism-late"], { keepPin: 3600 });
  t.is(await sign(provider), "signed");
  t.is(module.wrongPins(), 0);
});

test("long data is passed in parts to a token that refuses it at once", async (t) => {
  const { module, provider } = await loaded(t, [onlyHashing, "max-data=1000"]);
  for (const length of [1000, 1001, 256 * 1024, 1, 4096]) {
    t.true(await signs(provider, Buffer.alloc(length, 0xa5)), String(length));
  }
  t.is(module.calls().filter((call) => call === "sign-final").length, 4);
});

test("a key for which no mechanism is left is not supported", async (t) => {
  const { module, provider } = await loaded(t, ["mechanism=0x1043"]);
  const failure = await refused(t, signs(provider, Buffer.from("data")));
  t.is(failure.code, "unsupported");
  t.regex(failure.message, /^The token "hostile" refuses to sign with ecdsa-sha2-nistp256 and/);
  module.behave();
  t.is(await sign(provider), "signed");
});

test("signatures are read in the forms in which tokens return them", async (t) => {
  const { module, provider } = await loaded(t, []);
  for (const form of ["der", "wide-der", "trimmed", "halves"]) {
    module.behave(`signature-form=${form}`);
    t.true(await signs(provider, dataWithShortS()), form);
    t.is(await sign(provider), "signed", form);
  }
  for (const length of [65, 72, 128, 1000]) {
    module.behave(`signature-length=${length}`);
    t.is(await sign(provider), "signed", String(length));
  }
});

/** Data for whose signature by the hostile module's first key s has a leading zero. */
function dataWithShortS(): Buffer {
  const r = 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n;
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  for (let at = 0; ; at++) {
    const data = Buffer.from(`short ${at}`);
    const hash = BigInt(`0x${createHash("sha256").update(data).digest("hex")}`);
    if (((hash + r) % order) >> 248n === 0n) return data;
  }
}
