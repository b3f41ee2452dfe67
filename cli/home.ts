/** The user's home folder, where key files and known_hosts are looked for. */
import { homedir } from "node:os";

/** HOME, or what the user database says; undefined when it does not know the user. */
export function homeFolder(env: NodeJS.ProcessEnv): string | undefined {
  if (env.HOME) return env.HOME;
  try {
    return homedir();
  } catch {
    return undefined;
  }
}
