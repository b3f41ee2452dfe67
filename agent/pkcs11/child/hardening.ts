/** Hardening of the process that logs in to tokens. */
import { loadKoffi } from "../../../openssh/add-ons.ts";

const prSetPdeathsig = 1;
const prSetDumpable = 4;
const sigkill = 9;

/**
 * Turns off Node.js's debugger. On Linux, also forbids core dumps and ptrace (PR_SET_DUMPABLE), and
 * has the kernel kill this process when the agent ends, even if a library hangs (PR_SET_PDEATHSIG).
 */
export function protectProcess(): void {
  process.on("SIGUSR1", () => {}); // by default, Node.js opens its debugger, to every local user
  if (process.platform !== "linux") return;
  const prctl = loadKoffi()
    .load(null)
    .func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)");
  prctl(prSetDumpable, 0, 0, 0, 0);
  prctl(prSetPdeathsig, sigkill, 0, 0, 0);
}
