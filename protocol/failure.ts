/**
 * Reasons for refusing a request.
 *
 * The agent protocol has no error codes. Here a refusal is a `Failure`: a code for programs, a sentence
 * for users, and a hint on what to do next. The agent keeps the last one of each connection, which
 * `failure-reason@cardagent.alt` returns.
 */

/** The codes and their numbers on the wire. Numbers are never reused. */
export const failureCodes = {
  malformed: 1,
  locked: 2,
  unsupported: 3,
  "remote-refused": 4,
  "no-such-file": 5,
  "provider-not-allowed": 6,
  "not-a-pkcs11-module": 7,
  "module-crashed": 8,
  "module-timeout": 9,
  "no-token": 10,
  "no-usable-key": 11,
  "pin-required": 12,
  "pin-incorrect": 13,
  "pin-last-try": 14,
  "pin-locked": 15,
  "token-removed": 16,
  "not-loaded": 17,
  "key-not-found": 18,
  "no-matching-key": 19,
  "certificate-expired": 20,
  "user-refused": 21,
  "destination-not-permitted": 22,
  "too-large": 23,
  internal: 24,
  "upstream-failed": 25,
} as const;

/** The name of a reason, such as `pin-incorrect`; docs/PROTOCOL.md lists them. */
export type FailureCode = keyof typeof failureCodes;

/** The default hint for each code. */
const hints: Record<FailureCode, string> = {
  malformed: "The client's request does not follow RFC 9987; check its version.",
  locked: "Unlock the agent with: ssh-add -X",
  unsupported: "This agent does not do that; see: ssh-add -Q",
  "remote-refused":
    "Ask on the machine where the agent runs, or start it with: -O allow-remote-pkcs11",
  "no-such-file": "Check the path.",
  "provider-not-allowed": "Start ssh-agent with -P and a pattern that matches the library.",
  "not-a-pkcs11-module":
    "Give the path of a PKCS#11 library, such as libykcs11.so or opensc-pkcs11.so.",
  "module-crashed": "Load it again with: ssh-add -s LIB",
  "module-timeout": "Check the card and its reader, then load it again with: ssh-add -s LIB",
  "no-token": "Insert the card, or see whether the library needs a service or configuration.",
  "no-usable-key":
    "Look with the vendor's tool whether it holds one: OpenSC shows a PIV card's key only with its certificate. If it holds none, create one.",
  "pin-required": "Load the token again with its PIN: ssh-add -s LIB",
  "pin-incorrect": "Try again with the right PIN; a token locks itself after a few wrong ones.",
  "pin-last-try": "The next wrong PIN locks the token. Be sure before you try again.",
  "pin-locked": "Unblock the PIN with its PUK and the vendor's tool.",
  "token-removed": "Insert the card, or end that program; then try again.",
  "not-loaded": "See what is loaded with: ssh-add --list-providers",
  "key-not-found": "See what the agent holds with: ssh-add -l",
  "no-matching-key":
    "Add the certificate's private key first, from its file or with: ssh-add -s LIB",
  "certificate-expired": "Get a new certificate from its CA.",
  "user-refused": "Answer yes when you are asked, or add the key without -c.",
  "destination-not-permitted": "The key was added for other destinations; see -h in ssh-add(1).",
  "too-large": "The agent protocol carries at most 256 KiB in a message.",
  "upstream-failed": "See the state of each upstream agent with: ssh-add --list-providers",
  internal: "This is a fault of the agent; run it with -d to see more.",
};

/**
 * A refusal with its reason. In a client, it reports an invalid request or reply. Sentence and hint
 * never contain a PIN, a passphrase or key material.
 */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly code: FailureCode;
  /** What the user can do next: one sentence. */
  readonly hint: string;

  /**
   * @param code the reason, for programs
   * @param sentence the reason, for users: one sentence with its full stop
   * @param hint what to do next; by default, the hint of the code
   */
  constructor(code: FailureCode, sentence: string, hint: string = hints[code]) {
    super(sentence);
    this.code = code;
    this.hint = hint;
  }
}

/** A `malformed` failure: a message that violates RFC 9987 or RFC 4251. */
export function malformed(sentence: string): Failure {
  return new Failure("malformed", sentence);
}

/** A `malformed` failure whose cause is the key, not the client that sent it. */
export function invalidKey(sentence: string): Failure {
  return new Failure(
    "malformed",
    sentence,
    "Check the key, for example with: ssh-keygen -l -f FILE",
  );
}

/** A `malformed` failure whose cause is the certificate, not the client that sent it. */
export function invalidCertificate(sentence: string): Failure {
  const hint = "See what it says with: ssh-keygen -L -f FILE; get a new one from its CA.";
  return new Failure("malformed", sentence, hint);
}

/**
 * Runs `read` on a key or certificate that a client passes on, and rethrows a `malformed` failure as
 * one whose cause is the key or certificate.
 * @param invalid `invalidKey` or `invalidCertificate`
 */
export function rethrowMalformed<Result>(
  invalid: (sentence: string) => Failure,
  read: () => Result,
): Result {
  try {
    return read();
  } catch (error) {
    const isMalformed = error instanceof Failure && error.hint === hints.malformed;
    throw isMalformed ? invalid(error.message) : error;
  }
}

/** The failure for an unknown key type. */
export function unknownAlgorithm(algorithm: string): Failure {
  return new Failure("unsupported", `Keys of the type "${algorithm}" are not supported.`);
}

/** Any thrown value as a `Failure`; other errors become `internal`, without their message. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure("internal", "The agent failed on this request.");
}
