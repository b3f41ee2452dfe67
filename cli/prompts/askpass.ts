/** Asks for a secret through the askpass program. */
import { type ChildProcess, spawn } from "node:child_process";
import { endsAnswer } from "../../openssh/askpass.ts";
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
    let child: ChildProcess;
    try {
      child = spawn(program, [prompt], { stdio: ["inherit", "pipe", "inherit"] });
    } catch (error) {
      return fail(error);
    }
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
    // Without free descriptors there is no pipe, and "error" follows.
    child.stdout?.on("data", (chunk: Buffer) => {
      for (const byte of chunk) {
        isComplete ||= endsAnswer(byte);
        if (!isComplete) line.add(byte);
      }
      chunk.fill(0);
      settle();
    });
    child.stdout?.on("end", () => {
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
