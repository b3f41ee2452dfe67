/**
 * What `import … from "cardagent"` gives: a client for any agent, and what it takes to use what an
 * agent says. docs/LIBRARY.md has an example. Each name here is part of what versions are counted by.
 */
export type { Certificate } from "./certificate.ts";
export { AgentClient, AgentRefusal } from "./client.ts";
export type { Constraint, DestinationConstraint } from "./constraints.ts";
export type { AddCertificate } from "./extensions/add-certificate.ts";
export type { FailureReason } from "./extensions/failure-reason.ts";
export type { ProviderDescription } from "./extensions/list-providers.ts";
export { extensionNames } from "./extensions/names.ts";
export type { SessionBind } from "./extensions/session-bind.ts";
export { Failure, type FailureCode } from "./failure.ts";
export { fingerprint } from "./fingerprint.ts";
export { signatureFlags } from "./numbers.ts";
export type { PrivateKey } from "./private-key.ts";
export { encodePublicKey, type PublicKey } from "./public-key.ts";
export type { Identity, Reply } from "./replies.ts";
export type { Request } from "./requests.ts";
export { type VerifiedKey, verifyKeyOrCertificate, verifySignature } from "./verification.ts";
