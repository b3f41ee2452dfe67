/** File names for public keys, made of their comments. */
import { fingerprint } from "../protocol/fingerprint.ts";
import type { Identity } from "../protocol/replies.ts";
import { describe } from "./identities.ts";

/** An identity and the name of its file. */
export interface NamedIdentity extends Identity {
  readonly fileName: string;
  readonly isCertificate: boolean;
}

/** Bytes of a name; with what is appended, less than the 255 of most file systems. */
const maxLength = 200;

/** The characters of a fingerprint that tell names apart. */
const suffixLength = 8;

/**
 * Names the file of each identity: `NAME.pub`, for a certificate `NAME-cert.pub` with the name of its
 * key, as `ssh` and `ssh-add` expect it. Where several keys have a name, or several certificates a
 * key, a part of the fingerprint follows it, so that the names do not depend on the order.
 */
export function nameFiles(identities: readonly Identity[]): NamedIdentity[] {
  const described = identities.flatMap((identity) => {
    const { algorithm, keyBlob = identity.keyBlob } = describe(identity.keyBlob) ?? {};
    if (algorithm === undefined) return []; // -L leaves it out too
    const isCertificate = /-cert-v\d+@openssh\.com$/.test(algorithm);
    return [{ ...identity, isCertificate, key: fingerprint(keyBlob), name: safeName(identity) }];
  });
  const names = new Map<string, string>();
  const plainFirst = described.toSorted(
    (a, b) => Number(a.isCertificate) - Number(b.isCertificate),
  );
  for (const { key, name } of plainFirst) if (!names.has(key)) names.set(key, name);
  const uses = count([...names.values()].map(folded));
  const certificates = count(described.filter((one) => one.isCertificate).map(({ key }) => key));
  return described.map(({ key, name: _, isCertificate, ...identity }) => {
    const name = names.get(key) ?? "";
    // The file of a key NAME-cert would have the name of the certificate of a key NAME.
    const isShared = (uses.get(folded(name)) ?? 0) > 1 || /-cert$/i.test(name);
    const keyName = isShared ? `${name}-${short(key)}` : name;
    const isOneOfMany = isCertificate && (certificates.get(key) ?? 0) > 1;
    const own = isOneOfMany ? `${keyName}-${short(fingerprint(identity.keyBlob))}` : keyName;
    return { ...identity, isCertificate, fileName: `${own}${isCertificate ? "-cert" : ""}.pub` };
  });
}

/**
 * A name that needs no quotes in a shell or in ssh_config(5): letters, digits and `._@+-`, and neither
 * `.` nor `-` at its ends.
 */
function safeName({ comment }: Identity): string {
  let name = comment.normalize("NFC").replace(/[^\p{L}\p{M}\p{N}._@+-]+/gu, "-");
  while (Buffer.byteLength(name) > maxLength) name = Array.from(name).slice(0, -1).join("");
  return name.replace(/^[.-]+|[.-]+$/g, "") || "key";
}

/** A part of a fingerprint, without characters that are special in file names. */
function short(print: string): string {
  return print.replace(/^.*:|[^A-Za-z0-9]/g, "").slice(0, suffixLength);
}

/** For file systems that do not tell case. */
function folded(name: string): string {
  return name.toLowerCase();
}

function count(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
