/** The user's home folder, where ~/.ssh is. */
import { userInfo } from "node:os";

/** HOME, or what the user database says; undefined for an unknown user. */
export function homeFolder(env: NodeJS.ProcessEnv): string | undefined {
  if (env.HOME) return env.HOME;
  try {
    return userInfo().homedir || undefined;
  } catch {
    return undefined;
  }
}
