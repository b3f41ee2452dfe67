/** What `import … from "cardagent"` gives: the agent protocol, and a client for it. */
export * from "./certificate.ts";
export * from "./client.ts";
export * from "./constraints.ts";
export type { AddCertificate } from "./extensions/add-certificate.ts";
export type { FailureReason } from "./extensions/failure-reason.ts";
export type {
  ProviderDescription,
  ProviderState,
  TokenDescription,
} from "./extensions/list-providers.ts";
export { extensionNames } from "./extensions/names.ts";
export type { SessionBind } from "./extensions/session-bind.ts";
export * from "./failure.ts";
export * from "./fingerprint.ts";
export * from "./key-object.ts";
export { signatureFlags } from "./numbers.ts";
export type { PrivateKey, SecretFields } from "./private-key.ts";
export * from "./public-key.ts";
export type { Identity, Reply } from "./replies.ts";
export type { Request } from "./requests.ts";
export * from "./signature.ts";
export * from "./signing.ts";
export { verifyCertificate, verifySignature } from "./verification.ts";
