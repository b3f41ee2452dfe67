/** Reads a FIDO authenticator's resident keys through OpenSSH's `ssh-sk-helper`. */
import { spawnSync } from "node:child_process";
import {
  decodeSkResident,
  encodeSkResident,
  findSkHelper,
  SkHelperError,
  skErrors,
} from "../../openssh/sk-helper.ts";
import { FrameReader } from "../../protocol/framing.ts";
import type { PrivateKey } from "../../protocol/private-key.ts";

/** Why the keys cannot be read: OpenSSH's message, and this project's reason and hint. */
export class ResidentKeysError extends Error {
  override readonly name = "ResidentKeysError";
  readonly reason: string;
  readonly hint: string;

  constructor(message: string, reason: string, hint: string) {
    super(message);
    this.reason = reason;
    this.hint = hint;
  }
}

/** OpenSSH's SYSLOG_LEVEL_INFO. */
const logInfo = 3;

/**
 * Reads all resident keys of the connected authenticator.
 * @param provider the path of a library, or "internal"
 * @param verbosity the number of -v options
 * @throws {ResidentKeysError}
 */
export async function loadResidentKeys(
  provider: string,
  pin: Buffer,
  env: NodeJS.ProcessEnv,
  verbosity: number,
): Promise<PrivateKey[]> {
  const request = encodeSkResident(provider, pin, logInfo + Math.min(verbosity, 3));
  try {
    const stdio = ["pipe", "pipe", "inherit"] as const;
    const { stdout } = spawnSync(await findHelper(env), { input: request, env, stdio: [...stdio] });
    const [answer] = new FrameReader().push(stdout ?? Buffer.alloc(0));
    if (answer === undefined) throw failed("invalid format", "ssh-sk-helper ended early.");
    return decodeSkResident(answer);
  } catch (error) {
    if (error instanceof SkHelperError) throw describeSkError(error.code);
    if (error instanceof ResidentKeysError) throw error;
    const reason = error instanceof Error ? error.message : "";
    throw failed("invalid format", reason);
  } finally {
    request.fill(0);
  }
}

async function findHelper(env: NodeJS.ProcessEnv): Promise<string> {
  const hint = "Install OpenSSH's client, or set SSH_SK_HELPER to its ssh-sk-helper.";
  try {
    return await findSkHelper(env, hint);
  } catch (error) {
    const reason = error instanceof Error ? error.message : "";
    throw new ResidentKeysError("No such file or directory", reason, hint);
  }
}

function describeSkError(code: number): ResidentKeysError {
  switch (code) {
    case skErrors.wrongPin:
      return new ResidentKeysError(
        "incorrect passphrase supplied to decrypt private key",
        "The authenticator refused the PIN.",
        "Try again with the right PIN; an authenticator locks itself after a few wrong ones.",
      );
    case skErrors.deviceNotFound:
      return new ResidentKeysError("device not found", "", "Plug the authenticator in.");
    case skErrors.unsupported:
      return failed("requested feature not supported", "");
    case skErrors.keyNotFound:
      return failed("key not found", "");
    case skErrors.invalidFormat:
      return failed("invalid format", "");
    default:
      return failed(`error ${code}`, "");
  }
}

function failed(message: string, reason: string): ResidentKeysError {
  return new ResidentKeysError(message, reason, "Check the library that -S names.");
}
