/** The raw private keys of Node.js 24.15 and newer, which the types of Node.js 20 lack. */
import type { KeyObject } from "node:crypto";

declare module "node:crypto" {
  interface RawPrivateKeyInput {
    readonly key: Buffer;
    readonly format: "raw-private";
    readonly asymmetricKeyType: "ec" | "ed25519";
    readonly namedCurve?: string;
  }
  function createPrivateKey(key: RawPrivateKeyInput): KeyObject;
}
