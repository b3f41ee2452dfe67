/** Asks for a secret through the askpass program. */
import { endsAnswer } from "../../openssh/askpass.ts";
import { type SecretProgram, spawnForSecret } from "../../openssh/secret-input.ts";
import { type Console, errorText } from "../console.ts";
import { SecretLine } from "./secret-line.ts";

/**
 * Runs an askpass program with the prompt as its argument.
 * @param program its path, or a name to look up in PATH
 * @param console reports a program that cannot be run
 * @returns the first line of its output; undefined when it fails or cannot be run
 */
export function askAskpass(
  program: string,
  prompt: string,
  console: Pick<Console, "log">,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const fail = (error: unknown) => {
      console.log(`ssh_askpass: exec(${program}): ${errorText(error)}`);
      resolve(undefined);
    };
    const line = new SecretLine();
    let isComplete = false;
    let status: number | null | undefined;
    // Waiting for "close" would take some milliseconds more.
    const settle = () => {
      if (!isComplete || status === undefined) return;
      if (status !== 0) line.eraseAll();
      const answer = line.finish();
      resolve(status === 0 ? answer : undefined);
    };
    const receive = (chunk: Buffer) => {
      for (const byte of chunk) {
        isComplete ||= endsAnswer(byte);
        if (!isComplete) line.add(byte);
      }
      settle();
    };
    let started: SecretProgram;
    try {
      started = spawnForSecret(program, [prompt], { others: "inherit" }, receive);
    } catch (error) {
      return fail(error);
    }
    const { child, output } = started;
    // Without free descriptors there is no output, and "error" follows.
    output?.on("end", () => {
      isComplete = true;
      settle();
    });
    child.on("exit", (code) => {
      status = code;
      settle();
    });
    child.on("error", fail);
  });
}
