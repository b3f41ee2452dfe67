import test from "ava";
import { Writer } from "../../protocol/wire.ts";
import { parseUserauth } from "./userauth.ts";

/** The blob of a key or certificate, as far as a login request is concerned. */
const blobOf = (type: string) => new Writer().text(type).text("the rest").finish();

function login(algorithm: string, keyBlob: Buffer): Buffer {
  const writer = new Writer().text("session").byte(50).text("alice");
  writer.text("ssh-connection").text("publickey").bool(true);
  return writer.text(algorithm).string(keyBlob).finish();
}

test("a key on an authenticator logs in by its own algorithm, or by webauthn for ECDSA", (t) => {
  const types = [
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
  ] as const;
  for (const type of types) {
    const blob = blobOf(type);
    t.like(parseUserauth(login(type, blob), blob), { user: "alice" });
    const byWebauthn = parseUserauth(login(`webauthn-${type}`, blob), blob);
    t.is(byWebauthn !== undefined, type.startsWith("sk-ecdsa-"), type);
    for (const other of types.filter((one) => one !== type)) {
      t.is(parseUserauth(login(other, blob), blob), undefined);
      t.is(parseUserauth(login(`webauthn-${other}`, blob), blob), undefined);
    }
  }
});
