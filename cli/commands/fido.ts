/** `ssh-add -K` and `ssh-add -S`: keys on FIDO authenticators, which this project does not have. */
import { explain } from "../agent.ts";
import type { Context } from "../context.ts";

/** Refuses, and says why. */
export async function fido({ console }: Context): Promise<number> {
  console.note("Keys on FIDO authenticators are not supported.");
  explain(console, "", "Use the ssh-add and ssh-agent of OpenSSH for them.");
  return 1;
}
