/**
 * Runs OpenSSH's `ssh-sk-helper`: a process of its own for every signature, so that what the
 * middleware of an authenticator does cannot harm the agent.
 */
import { spawn } from "node:child_process";
import { findSkHelper, missingSkHelper } from "../../openssh/sk-helper.ts";
import { Failure } from "../../protocol/failure.ts";
import { FrameReader } from "../../protocol/framing.ts";

/**
 * Asks the helper once; resolves with its answer, without the length.
 * @param unwanted aborted, with a `Failure`, when the answer is not waited for any more
 */
export type AskHelper = (request: Buffer, unwanted: AbortSignal | undefined) => Promise<Buffer>;

/** What the helper is run with. */
interface HelperOptions {
  /** The agent's: SSH_SK_HELPER, and what the middleware looks for. */
  readonly environment: NodeJS.ProcessEnv;
  /** Milliseconds; a person has to touch the authenticator within. */
  readonly limit: number;
  /** Whether what it says goes to the agent's standard error. */
  readonly showMessages: boolean;
}

/**
 * Makes an `AskHelper`. Requests wait for each other: an authenticator does one thing at a time. A
 * request is overwritten once it is sent.
 * @throws {Failure} unsupported, where there is no helper; module-timeout; module-crashed; why the
 *   answer is not waited for
 */
export function skHelper(options: HelperOptions): AskHelper {
  let last: Promise<unknown> = Promise.resolve();
  return (request, unwanted) => {
    const answer = last.then(() => ask(request, options, unwanted)).finally(() => request.fill(0));
    last = answer.catch(() => {});
    return answer;
  };
}

async function ask(
  request: Buffer,
  options: HelperOptions,
  unwanted: AbortSignal | undefined,
): Promise<Buffer> {
  const path = await findSkHelper(options.environment, missingHint);
  unwanted?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(path, {
      detached: true, // a Control-C at the agent's terminal is not for it
      env: options.environment,
      stdio: ["pipe", "pipe", options.showMessages ? "inherit" : "ignore"],
    });
    const end = (failure: Failure) => {
      reject(failure);
      // Without a number, the signal would go to the agent's own process group.
      if (child.pid !== undefined) child.kill("SIGKILL");
    };
    const giveUp = () => end(unwanted?.reason);
    unwanted?.addEventListener("abort", giveUp);
    const timer = setTimeout(() => end(late(options.limit)), options.limit);
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
    child.stdin.on("error", () => {}); // it ended early, which "close" tells
    child.on("error", () => end(missingSkHelper(path, missingHint)));
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      unwanted?.removeEventListener("abort", giveUp);
      const how = signal === null ? `with status ${status}` : `by ${signal}`;
      reject(new Failure("module-crashed", `The helper for FIDO keys was ended ${how}.`, again));
    });
    child.stdin.end(request);
  });
}

const missingHint =
  "Install OpenSSH's client, or start ssh-agent with SSH_SK_HELPER set to its ssh-sk-helper.";
const again = "Check the authenticator and its library, and try again.";

function late(limit: number): Failure {
  const sentence = `The authenticator did not sign within ${limit / 1000} seconds.`;
  return new Failure("module-timeout", sentence, "Touch the authenticator when it blinks.");
}
