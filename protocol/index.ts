/**
 * The public API of the package: a client for any agent, and the types and functions to use its
 * replies. docs/LIBRARY.md has an example. A change of a name here is a change of the API's version.
 */
export type { Certificate } from "./certificate.ts";
export { AgentClient, AgentRefusal } from "./client.ts";
export type { Constraint, DestinationConstraint } from "./constraints.ts";
export type { AddCertificate } from "./extensions/add-certificate.ts";
export type { FailureReason } from "./extensions/failure-reason.ts";
export type { ProviderDescription } from "./extensions/list-providers.ts";
export type { RenewalDescription } from "./extensions/list-renewals.ts";
export type { UpstreamDescription } from "./extensions/list-upstreams.ts";
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
