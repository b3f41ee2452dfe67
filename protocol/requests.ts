/** Requests of the agent protocol (RFC 9987, section 3), decoded and encoded. */
import { type Constraint, readConstraints, writeConstraints } from "./constraints.ts";
import { Failure } from "./failure.ts";
import { requestNumbers } from "./numbers.ts";
import { type PrivateKey, readPrivateKey, writePrivateKey } from "./private-key.ts";
import { Reader, Writer } from "./wire.ts";

/**
 * A request from a client. `AgentClient.request` sends any of them, where its other methods do not do.
 * Buffers of a decoded one are views of the frame it came in.
 */
export type Request =
  | { readonly type: "request-identities" }
  | {
      readonly type: "sign";
      /** A plain key's blob or a certificate's. */
      readonly keyBlob: Buffer;
      readonly data: Buffer;
      /** See `signatureFlags`. */
      readonly flags: number;
    }
  | {
      readonly type: "add-identity";
      readonly key: PrivateKey;
      readonly comment: string;
      readonly constraints: readonly Constraint[];
    }
  | { readonly type: "remove-identity"; readonly keyBlob: Buffer }
  | { readonly type: "remove-all-identities" }
  | {
      readonly type: "add-smartcard-key";
      /** The provider's path. */
      readonly provider: string;
      readonly pin: Buffer;
      readonly constraints: readonly Constraint[];
    }
  | { readonly type: "remove-smartcard-key"; readonly provider: string; readonly pin: Buffer }
  | { readonly type: "lock"; readonly passphrase: Buffer }
  | { readonly type: "unlock"; readonly passphrase: Buffer }
  | {
      readonly type: "extension";
      readonly name: string;
      /** What follows the name; its meaning is the extension's own. */
      readonly body: Buffer;
    }
  /** Protocol 1: list. Nothing is ever there. */
  | { readonly type: "request-rsa-identities" }
  /** Protocol 1: remove all. Nothing is ever there. */
  | { readonly type: "remove-all-rsa-identities" };

/** The requests of one type. */
export type RequestOf<Type extends Request["type"]> = Extract<Request, { type: Type }>;

/** The number that a request goes by on the wire. */
export function requestNumber(request: Request): number {
  switch (request.type) {
    case "request-identities":
      return requestNumbers.requestIdentities;
    case "sign":
      return requestNumbers.sign;
    case "add-identity":
      return request.constraints.length > 0
        ? requestNumbers.addIdentityConstrained
        : requestNumbers.addIdentity;
    case "remove-identity":
      return requestNumbers.removeIdentity;
    case "remove-all-identities":
      return requestNumbers.removeAllIdentities;
    case "add-smartcard-key":
      return request.constraints.length > 0
        ? requestNumbers.addSmartcardKeyConstrained
        : requestNumbers.addSmartcardKey;
    case "remove-smartcard-key":
      return requestNumbers.removeSmartcardKey;
    case "lock":
      return requestNumbers.lock;
    case "unlock":
      return requestNumbers.unlock;
    case "extension":
      return requestNumbers.extension;
    case "request-rsa-identities":
      return requestNumbers.requestRsaIdentities;
    case "remove-all-rsa-identities":
      return requestNumbers.removeAllRsaIdentities;
  }
}

/**
 * Decodes a request.
 * @param message a frame without its length
 * @throws {Failure} malformed; unsupported for a number, key type or constraint that is not known
 */
export function decodeRequest(message: Uint8Array): Request {
  const reader = new Reader(message);
  const request = readRequest(reader, reader.byte());
  reader.end();
  return request;
}

function readRequest(reader: Reader, number: number): Request {
  switch (number) {
    case requestNumbers.requestIdentities:
      return { type: "request-identities" };
    case requestNumbers.sign: {
      const keyBlob = reader.string();
      const data = reader.string();
      return { type: "sign", keyBlob, data, flags: reader.uint32() };
    }
    case requestNumbers.addIdentity:
    case requestNumbers.addIdentityConstrained: {
      const key = readPrivateKey(reader);
      const comment = reader.cString();
      return { type: "add-identity", key, comment, constraints: readTail(reader, number) };
    }
    case requestNumbers.removeIdentity:
      return { type: "remove-identity", keyBlob: reader.string() };
    case requestNumbers.removeAllIdentities:
      return { type: "remove-all-identities" };
    case requestNumbers.addSmartcardKey:
    case requestNumbers.addSmartcardKeyConstrained: {
      const provider = reader.cString();
      const pin = reader.string();
      return { type: "add-smartcard-key", provider, pin, constraints: readTail(reader, number) };
    }
    case requestNumbers.removeSmartcardKey: {
      const provider = reader.cString();
      return { type: "remove-smartcard-key", provider, pin: reader.string() };
    }
    case requestNumbers.lock:
      return { type: "lock", passphrase: reader.string() };
    case requestNumbers.unlock:
      return { type: "unlock", passphrase: reader.string() };
    case requestNumbers.extension: {
      const name = reader.name();
      return { type: "extension", name, body: reader.rest() };
    }
    case requestNumbers.requestRsaIdentities:
      return { type: "request-rsa-identities" };
    case requestNumbers.removeAllRsaIdentities:
      return { type: "remove-all-rsa-identities" };
    default:
      throw new Failure("unsupported", `Request number ${number} is not supported.`);
  }
}

/** Constraints follow only in the requests that are made for them. */
function readTail(reader: Reader, number: number): Constraint[] {
  const constrained =
    number === requestNumbers.addIdentityConstrained ||
    number === requestNumbers.addSmartcardKeyConstrained;
  return constrained ? readConstraints(reader) : [];
}

/**
 * Encodes a request as a frame without its length; inverts `decodeRequest`. The bytes may hold
 * secrets: overwrite them once they are sent.
 */
export function encodeRequest(request: Request): Buffer {
  const writer = new Writer().byte(requestNumber(request));
  switch (request.type) {
    case "sign":
      writer.string(request.keyBlob).string(request.data).uint32(request.flags);
      break;
    case "add-identity":
      writePrivateKey(writer, request.key);
      writer.text(request.comment);
      writeConstraints(writer, request.constraints);
      break;
    case "remove-identity":
      writer.string(request.keyBlob);
      break;
    case "add-smartcard-key":
      writer.text(request.provider).string(request.pin);
      writeConstraints(writer, request.constraints);
      break;
    case "remove-smartcard-key":
      writer.text(request.provider).string(request.pin);
      break;
    case "lock":
    case "unlock":
      writer.string(request.passphrase);
      break;
    case "extension":
      writer.text(request.name).bytes(request.body);
      break;
    case "request-identities":
    case "remove-all-identities":
    case "request-rsa-identities":
    case "remove-all-rsa-identities":
      break;
  }
  return writer.finish();
}
