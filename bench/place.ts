/** The benchmark's own place: a folder, a HOME, and the processes that it has started. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** A folder for one run of the benchmark, and what runs in it. */
export interface Place {
  /** Short enough for the paths of Unix sockets. */
  readonly folder: string;
  /** What programs get as their environment, and nothing else. */
  readonly env: Record<string, string>;
  /** Starts a program that ends with this place. Its output goes where this program's errors go. */
  start(command: string, args: readonly string[]): ChildProcess;
  /** Ends what was started, and removes the folder. */
  end(): Promise<void>;
}

/** Makes a place. */
export function makePlace(): Place {
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

/** Ends a process that was started here, and waits until it has ended. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
