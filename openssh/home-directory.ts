/** The user's home directory. */
import { userInfo } from "node:os";

/** HOME, else the directory in the user database; undefined for an unknown user. */
export function homeDirectory(env: NodeJS.ProcessEnv): string | undefined {
  if (env.HOME) return env.HOME;
  try {
    return userInfo().homedir || undefined;
  } catch {
    return undefined;
  }
}
