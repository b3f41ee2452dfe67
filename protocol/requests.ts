/** Requests of the agent protocol (RFC 9987, section 3). */
import { type Constraint, readConstraints, writeConstraints } from "./constraints.ts";
import { Failure } from "./failure.ts";
import { finishFrame, frameWriter, lengthSize } from "./framing.ts";
import { requestNumbers } from "./numbers.ts";
import { type PrivateKey, readPrivateKey, writePrivateKey } from "./private-key.ts";
import { Reader } from "./wire.ts";

/**
 * A request. `AgentClient.request` sends any of them; its other methods are more convenient. The buffers
 * of a decoded request are views of the message.
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
      /** The extension's own data, which follows the name. */
      readonly body: Buffer;
    }
  /** Protocol 1; the list is always empty. */
  | { readonly type: "request-rsa-identities" }
  | { readonly type: "remove-all-rsa-identities" };

/** The requests of one type. */
export type RequestOf<Type extends Request["type"]> = Extract<Request, { type: Type }>;

/** The message number of a request. */
export function requestNumber(request: Request): number {
  if ("constraints" in request && request.constraints.length > 0) {
    return requestNumbers[`${request.type}-constrained` as const];
  }
  return requestNumbers[request.type];
}

/**
 * Decodes a request.
 * @param message a message without its length field
 * @throws {Failure} malformed; unsupported, for an unknown number, key type or constraint
 */
export function decodeRequest(message: Uint8Array): Request {
  const reader = new Reader(message);
  const request = readRequest(reader, reader.byte());
  reader.end();
  return request;
}

function readRequest(reader: Reader, number: number): Request {
  switch (number) {
    case requestNumbers["request-identities"]:
      return { type: "request-identities" };
    case requestNumbers.sign: {
      const keyBlob = reader.string();
      const data = reader.string();
      return { type: "sign", keyBlob, data, flags: reader.uint32() };
    }
    case requestNumbers["add-identity"]:
    case requestNumbers["add-identity-constrained"]: {
      const key = readPrivateKey(reader);
      const comment = reader.cString();
      const isConstrained = number === requestNumbers["add-identity-constrained"];
      const constraints = isConstrained ? readConstraints(reader) : [];
      return { type: "add-identity", key, comment, constraints };
    }
    case requestNumbers["remove-identity"]:
      return { type: "remove-identity", keyBlob: reader.string() };
    case requestNumbers["remove-all-identities"]:
      return { type: "remove-all-identities" };
    case requestNumbers["add-smartcard-key"]:
    case requestNumbers["add-smartcard-key-constrained"]: {
      const provider = reader.cString();
      const pin = reader.string();
      const isConstrained = number === requestNumbers["add-smartcard-key-constrained"];
      const constraints = isConstrained ? readConstraints(reader) : [];
      return { type: "add-smartcard-key", provider, pin, constraints };
    }
    case requestNumbers["remove-smartcard-key"]: {
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
    case requestNumbers["request-rsa-identities"]:
      return { type: "request-rsa-identities" };
    case requestNumbers["remove-all-rsa-identities"]:
      return { type: "remove-all-rsa-identities" };
    default:
      throw new Failure("unsupported", `Request number ${number} is not supported.`);
  }
}

/** Encodes a request as `frameRequest` does, without its length field; the inverse of `decodeRequest`. */
export function encodeRequest(request: Request): Buffer {
  return frameRequest(request).subarray(lengthSize);
}

/**
 * Encodes a request with its length field, ready for the socket. The result may hold secrets: overwrite
 * it once it is sent.
 */
export function frameRequest(request: Request): Buffer {
  // With the right size, what is signed is not copied again.
  const size = request.type === "sign" ? request.keyBlob.length + request.data.length : 0;
  const writer = frameWriter(256 + size).byte(requestNumber(request));
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
  return finishFrame(writer);
}
