/**
 * chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305) as key files use it: sequence
 * number 0 and no associated data. It is not the AEAD of RFC 8439, which `node:crypto` has.
 */
import { createDecipheriv, timingSafeEqual } from "node:crypto";
import { decrypt } from "./deciphering.ts";

/**
 * Decrypts, and tells whether the tag is right.
 * @param key 32 bytes: the first half of the cipher's key; the other half is for packet lengths
 * @param tag 16 bytes
 */
export function openChaChaPoly(key: Buffer, body: Buffer, tag: Buffer) {
  const authenticator = chacha20(key, 0, Buffer.alloc(32));
  const isAuthentic = timingSafeEqual(poly1305(authenticator, body), tag);
  authenticator.fill(0);
  return { plain: chacha20(key, 1, body), isAuthentic };
}

/** The stream from this block on, over `data`. The nonce is the sequence number: eight zeros. */
function chacha20(key: Buffer, block: number, data: Buffer): Buffer {
  const counterAndNonce = Buffer.alloc(16);
  counterAndNonce.writeUInt32LE(block, 0);
  const decipher = createDecipheriv("chacha20", key, counterAndNonce);
  const stream = decrypt(decipher, data);
  decipher.final();
  return stream;
}

const prime = (1n << 130n) - 5n;
const clamp = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

/** The Poly1305 tag (RFC 8439, section 2.5). */
function poly1305(key: Buffer, message: Buffer): Buffer {
  const r = littleEndian(key.subarray(0, 16)) & clamp;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = message.subarray(at, at + 16);
    sum = ((sum + littleEndian(block) + (1n << BigInt(8 * block.length))) * r) % prime;
  }
  sum = (sum + littleEndian(key.subarray(16))) & ((1n << 128n) - 1n);
  return Buffer.from(sum.toString(16).padStart(32, "0"), "hex").reverse();
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}
