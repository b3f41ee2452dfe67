/** Webauthn signatures, as a web browser makes them for an SSH key (OpenSSH's PROTOCOL.u2f). */
import { createHash, type KeyObject } from "node:crypto";
import { signSync } from "./signing.ts";
import { Reader, Writer } from "./wire.ts";

/** What a signature says; by default, what is right. */
export interface WebauthnOptions {
  readonly name?: string;
  readonly origin?: string;
  readonly clientData?: string;
  readonly flags?: number;
  readonly extensions?: string;
}

/** The client data for signing `data`. */
export function webauthnClientData(data: Buffer, origin = "https://example.org"): string {
  const challenge = data.toString("base64url");
  return `{"type":"webauthn.get","challenge":"${challenge}","origin":"${origin}","crossOrigin":false}`;
}

/** Signs with a P-256 key. @returns the signature blob */
export function webauthnSignature(
  key: KeyObject,
  application: string,
  data: Buffer,
  options: WebauthnOptions = {},
): Buffer {
  const { name = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com", flags = 1 } = options;
  const { origin = "https://example.org", extensions = "" } = options;
  const { clientData = webauthnClientData(data) } = options;
  const hash = (text: string) => createHash("sha256").update(text).digest();
  const tail = new Writer().byte(flags).uint32(7).finish();
  const signed = [hash(application), tail, Buffer.from(extensions), hash(clientData)];
  const reader = new Reader(signSync(key, "ecdsa-sha2-nistp256", Buffer.concat(signed)));
  reader.name();
  const writer = new Writer().text(name).string(reader.string()).bytes(tail);
  return writer.text(origin).text(clientData).text(extensions).finish();
}
