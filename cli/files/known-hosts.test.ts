import { randomBytes } from "node:crypto";
import test from "ava";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { findHostKeys } from "./known-hosts.ts";

/** A random host key's blob, and its line. */
function hostKey(hosts: string, marker = ""): { blob: Buffer; line: string } {
  const blob = encodePublicKey({ type: "ed25519", publicKey: randomBytes(32) });
  return { blob, line: `${marker}${hosts} ssh-ed25519 ${blob.toString("base64")}\n` };
}

test("pathological patterns take linear time", (t) => {
  const host = "a".repeat(253);
  const hostile = `${"a*".repeat(200)}b`;
  const own = hostKey("a*");
  const lines = [hostile, `*,!${"a*".repeat(100)}`, `*${"a?".repeat(100)}b*`].map(
    (hosts) => hostKey(hosts).line,
  );
  const text = `${lines.join("").repeat(50)}${own.line}`;
  t.deepEqual(findHostKeys([text], host), [{ keyBlob: own.blob, isCa: false }]);
});

test("a file with very many lines for the host is read", (t) => {
  const keys = Array.from({ length: 50_000 }, () => hostKey("*", "@revoked "));
  const own = hostKey("host");
  const text = `${keys.map(({ line }) => line + line.slice("@revoked ".length)).join("")}${own.line}`;
  t.deepEqual(findHostKeys([text], "host"), [{ keyBlob: own.blob, isCa: false }]);
});

test("only ASCII case is ignored", (t) => {
  const own = hostKey("Host.EXAMPLE");
  t.is(findHostKeys([own.line], "hOST.example").length, 1);
  t.is(findHostKeys([hostKey("\u212aelvin").line], "kelvin").length, 0);
});

test("invalid base64 is ignored, as in OpenSSH", (t) => {
  const { line } = hostKey("host");
  const [hosts = "", type = "", base64 = ""] = line.trim().split(" ");
  t.is(findHostKeys([line], "host").length, 1);
  const damaged = [`${base64.slice(0, 30)}*${base64.slice(30)}`, `${base64}AAAA`, `${base64}=`];
  // The blob of an Ed25519 key has no padding; this one has.
  const rsa = encodePublicKey({ type: "rsa", n: Buffer.alloc(255, 0x7f), e: Buffer.of(3) });
  const padded = rsa.toString("base64");
  t.true(padded.endsWith("="));
  t.is(findHostKeys([`host ssh-rsa ${padded}`], "host").length, 1);
  t.is(findHostKeys([`host ssh-rsa ${padded.replace(/=+$/, "")}`], "host").length, 0);
  for (const text of damaged) t.is(findHostKeys([`${hosts} ${type} ${text}`], "host").length, 0);
});
