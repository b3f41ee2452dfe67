/**
 * chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305) as key files use it: sequence
 * number 0 and no associated data. It is not the AEAD of RFC 8439, which `node:crypto` has: the nonce
 * has 64 bits, and the tag covers the encrypted bytes alone.
 */
import { createDecipheriv, timingSafeEqual } from "node:crypto";
import { decrypt } from "./deciphering.ts";

/**
 * Decrypts, and tells whether the tag is right.
 * @param key 32 bytes: the first half of the cipher's key; the other half is for packet lengths
 * @param tag 16 bytes
 */
export async function openChaChaPoly(key: Buffer, body: Buffer, tag: Buffer) {
  // It sees encrypted bytes only; what is decrypted stays in buffers of ours.
  const { poly1305 } = await import("@noble/ciphers/_poly1305.js");
  const oneTimeKey = chacha20(key, 0, Buffer.alloc(32));
  const isAuthentic = timingSafeEqual(poly1305(body, oneTimeKey), tag);
  oneTimeKey.fill(0);
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
