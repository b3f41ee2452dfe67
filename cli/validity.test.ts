import test from "ava";
import { type Certificate, forever } from "../protocol/certificate.ts";
import { certificateLifetime, shorterLifetime } from "./files/certificate-file.ts";
import { needsAttention, validity } from "./validity.ts";

const now = 1_800_000_000;

/** A certificate with this validity, relative to `now`. */
function certificate(from: number, until: number | "forever"): Certificate {
  const empty = Buffer.alloc(0);
  return {
    key: { type: "ed25519", publicKey: Buffer.alloc(32) },
    nonce: empty,
    serial: 0n,
    type: "user",
    keyId: "",
    principals: [],
    validAfter: BigInt(now + from),
    validBefore: until === "forever" ? forever : BigInt(now + until),
    criticalOptions: [],
    extensions: [],
    reserved: empty,
    caKey: empty,
    signature: empty,
  };
}

test("validity is shown in two units", (t) => {
  t.is(validity(certificate(-5, 59), now), "valid for 59s");
  t.is(validity(certificate(-5, 192 * 60), now), "valid for 3h12m");
  t.is(validity(certificate(-5, 86_400 * 9), now), "valid for 9d0h");
  t.is(validity(certificate(-5, "forever"), now), "valid for ever");
  t.is(validity(certificate(-500, 0), now), "expired 0s ago");
  t.is(validity(certificate(-500, -90), now), "expired 1m30s ago");
  t.is(validity(certificate(300, 900), now), "valid in 5m0s");
});

test("a certificate that expires within an hour or is not yet valid is marked", (t) => {
  t.true(needsAttention(certificate(-5, 3599), now));
  t.true(needsAttention(certificate(5, 99_999), now));
  t.false(needsAttention(certificate(-5, 3600), now));
  t.false(needsAttention(certificate(-5, "forever"), now));
});

test("an identity outlives its certificate by five minutes", (t) => {
  t.is(certificateLifetime(certificate(-5, 60), now), 360);
  t.is(certificateLifetime(certificate(-5, "forever"), now), 0);
  t.is(certificateLifetime(certificate(-500, -1), now), 299);
  t.is(certificateLifetime(certificate(-500, -299), now), 1);
  t.is(certificateLifetime(certificate(-500, -300), now), undefined);
  t.is(certificateLifetime(certificate(-5, 2 ** 40), now), 2 ** 31 - 1);
});

test("the shorter of two lifetimes applies, and 0 is unlimited", (t) => {
  t.is(shorterLifetime(0, 0), 0);
  t.is(shorterLifetime(60, 0), 60);
  t.is(shorterLifetime(0, 60), 60);
  t.is(shorterLifetime(90, 60), 60);
});
