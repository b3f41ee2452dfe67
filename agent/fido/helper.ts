/**
 * Runs OpenSSH's `ssh-sk-helper`, in a process of its own for every signature, so that an
 * authenticator's middleware cannot harm the agent.
 */
import { spawn } from "node:child_process";
import { findSkHelper, missingSkHelper } from "../../openssh/sk-helper.ts";
import { Failure } from "../../protocol/failure.ts";
import { FrameReader } from "../../protocol/framing.ts";

/**
 * Asks the helper once; resolves with its answer, without the length.
 * @param signal aborted, with a `Failure`, when the client no longer waits
 */
export type AskHelper = (request: Buffer, signal: AbortSignal | undefined) => Promise<Buffer>;

/** Options of the helper. */
interface HelperOptions {
  /** The environment of the agent: SSH_SK_HELPER, and variables of the middleware. */
  readonly environment: NodeJS.ProcessEnv;
  /** Timeout in milliseconds, in which the user has to touch the authenticator. */
  readonly limit: number;
  /** Whether its messages go to the agent's standard error. */
  readonly showMessages: boolean;
}

/**
 * Makes an `AskHelper`. Requests are queued: an authenticator does one thing at a time. A request
 * is overwritten once it is sent.
 * @throws {Failure} unsupported, without a helper; module-timeout; module-crashed; the reason of
 *   the abort
 */
export function skHelper(options: HelperOptions): AskHelper {
  let last: Promise<unknown> = Promise.resolve();
  return (request, signal) => {
    const answer = last.then(() => ask(request, options, signal)).finally(() => request.fill(0));
    last = answer.catch(() => {});
    return answer;
  };
}

async function ask(
  request: Buffer,
  options: HelperOptions,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const path = await findSkHelper(options.environment, missingHint);
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(path, {
      detached: true, // Control-C at the agent's terminal does not reach it
      env: options.environment,
      stdio: ["pipe", "pipe", options.showMessages ? "inherit" : "ignore"],
    });
    const end = (failure: Failure) => {
      reject(failure);
      // Without a PID, the signal would go to the agent's own process group.
      if (child.pid !== undefined) child.kill("SIGKILL");
    };
    const onAbort = () => end(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    const timer = setTimeout(() => end(timedOut(options.limit)), options.limit);
    const frames = new FrameReader();
    child.stdout.on("data", (chunk: Buffer) => {
      try {
        const [answer] = frames.push(chunk);
        if (answer !== undefined) resolve(Buffer.from(answer));
      } catch {
        end(
          new Failure("module-crashed", "The helper for FIDO keys sent an invalid message.", again),
        );
      }
    });
    child.stdin.on("error", () => {}); // it ended early; "close" reports that
    child.on("error", () => end(missingSkHelper(path, missingHint)));
    child.on("close", (status, exitSignal) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      const how = exitSignal === null ? `with status ${status}` : `by ${exitSignal}`;
      reject(new Failure("module-crashed", `The helper for FIDO keys was ended ${how}.`, again));
    });
    child.stdin.end(request);
  });
}

const missingHint =
  "Install OpenSSH's client, or start ssh-agent with SSH_SK_HELPER set to its ssh-sk-helper.";
const again = "Check the authenticator and its library, and try again.";

function timedOut(limit: number): Failure {
  const sentence = `The authenticator did not sign within ${limit / 1000} seconds.`;
  return new Failure("module-timeout", sentence, "Touch the authenticator when it blinks.");
}
