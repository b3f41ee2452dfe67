/** Raw keys and signature contexts in Node.js 24.15 and newer, which the types of Node.js 20 lack. */
import type { KeyObject } from "node:crypto";

declare module "node:crypto" {
  interface RawPrivateKeyInput {
    readonly key: Buffer;
    readonly format: "raw-private";
    readonly asymmetricKeyType: "ec" | "ed25519";
    readonly namedCurve?: string;
  }
  interface RawSeedInput {
    readonly key: Uint8Array;
    readonly format: "raw-seed";
    readonly asymmetricKeyType: "ml-dsa-44";
  }
  interface RawPublicKeyInput {
    readonly key: Uint8Array;
    readonly format: "raw-public";
    readonly asymmetricKeyType: "ml-dsa-44";
  }
  function createPrivateKey(key: RawPrivateKeyInput | RawSeedInput): KeyObject;
  function createPublicKey(key: RawPublicKeyInput): KeyObject;
  interface KeyObject {
    export(options: { readonly format: "raw-public" }): Buffer;
  }
  interface SigningOptions {
    context?: Uint8Array;
  }
}
