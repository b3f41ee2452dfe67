/**
 * The program of a release for what scripts and prompts run often: `ssh-add -l`, `ssh-add -L`, and
 * `ssh-add -s LIB` with the PIN from an askpass program. It runs under bun, which starts in a quarter of the
 * time of Node.js, and leaves what is not as usual to the ssh-add of Node.js, before it has printed or asked
 * for anything.
 */
import { listQuickly } from "./list.ts";

main();

function main(): void {
  const [option, operand = ""] = process.argv.slice(2);
  if (option === "-s") {
    import("./add-card.ts")
      .then(({ addCardQuickly }) => addCardQuickly(operand))
      .then(process.exit, leaveToSshAdd);
    return;
  }
  let status: number;
  try {
    status = listQuickly(option === "-L");
  } catch {
    leaveToSshAdd();
  }
  process.exit(status);
}

/** Runs the ssh-add of Node.js, which is in the folder above, and exits with its status. */
function leaveToSshAdd(): never {
  const folder = process.execPath.replace(/[^/]*$/, "");
  const stdio = ["inherit", "inherit", "inherit"] as const;
  const command = [`${folder}../ssh-add`, ...process.argv.slice(2)];
  process.exit(Bun.spawnSync(command, { stdio }).exitCode ?? 1);
}
