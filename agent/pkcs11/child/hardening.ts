/** Protection of a process that is logged in to a token. */
import { loadKoffi } from "../../../openssh/add-ons.ts";

const prSetPdeathsig = 1;
const prSetDumpable = 4;
const sigkill = 9;

/**
 * Keeps this process to its agent: no core dump, no debugger of the same user, and no life without
 * the agent, even if a library never returns. Beside the debugger on Linux only.
 */
export function protectProcess(): void {
  process.on("SIGUSR1", () => {}); // or else Node.js opens its debugger, to every user
  if (process.platform !== "linux") return;
  const prctl = loadKoffi()
    .load(null)
    .func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)");
  prctl(prSetDumpable, 0, 0, 0, 0);
  prctl(prSetPdeathsig, sigkill, 0, 0, 0);
}
