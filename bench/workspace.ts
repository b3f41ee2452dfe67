/** The temporary folder, environment and processes of a run. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Workspace {
  /** Short enough for the paths of Unix sockets. */
  readonly folder: string;
  /** The environment of all programs. */
  readonly env: Record<string, string>;
  /** Starts a program; its errors go to standard error. */
  start(command: string, args: readonly string[]): ChildProcess;
  /** Stops all programs and removes the folder. */
  end(): Promise<void>;
}

export function makeWorkspace(): Workspace {
  const folder = mkdtempSync("/tmp/ca-bench-");
  const home = join(folder, "home");
  mkdirSync(join(home, ".ssh"), { recursive: true, mode: 0o700 });
  const env = {
    PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
    HOME: home,
    TMPDIR: folder,
    LANG: "C.UTF-8",
  };
  const running = new Set<ChildProcess>();
  const endNow = () => {
    for (const child of running) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", endNow);
  return {
    folder,
    env,
    start(command, args) {
      const child = spawn(command, args, {
        env,
        cwd: folder,
        stdio: ["ignore", "ignore", "inherit"],
      });
      running.add(child);
      child.once("exit", () => running.delete(child));
      return child;
    },
    async end() {
      await Promise.all([...running].map(endProcess));
      process.off("exit", endNow);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Stops a process and waits for its end. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
