/**
 * chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305) as key files use it: sequence
 * number 0, no associated data. Unlike the AEAD of RFC 8439 in `node:crypto`, it has a 64-bit nonce,
 * and the tag covers only the ciphertext.
 */
import { createDecipheriv, timingSafeEqual } from "node:crypto";
import { decrypt } from "./decrypt.ts";

/**
 * Decrypts and verifies the tag.
 * @param key 32 bytes: the first half of the cipher's key; the second encrypts packet lengths
 * @param tag 16 bytes
 */
export async function openChaChaPoly(key: Buffer, body: Buffer, tag: Buffer) {
  // The library sees only ciphertext and the one-time key; the plaintext stays in our buffers.
  const { poly1305 } = await import("@noble/ciphers/_poly1305.js");
  const oneTimeKey = chacha20(key, 0, Buffer.alloc(32));
  const isAuthentic = timingSafeEqual(poly1305(body, oneTimeKey), tag);
  oneTimeKey.fill(0);
  return { plain: chacha20(key, 1, body), isAuthentic };
}

/** XORs `data` with the key stream from a block on. The nonce, the sequence number, is zero. */
function chacha20(key: Buffer, block: number, data: Buffer): Buffer {
  const counterAndNonce = Buffer.alloc(16);
  counterAndNonce.writeUInt32LE(block, 0);
  const decipher = createDecipheriv("chacha20", key, counterAndNonce);
  const stream = decrypt(decipher, data);
  decipher.final();
  return stream;
}
