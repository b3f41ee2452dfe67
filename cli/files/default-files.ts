/** The key files that are meant when none is named. */
import { homedir } from "node:os";
import { join } from "node:path";

const names = [
  "id_rsa",
  "id_ecdsa",
  "id_ecdsa_sk",
  "id_ed25519",
  "id_ed25519_sk",
  "id_mldsa44_ed25519",
] as const;

/** Their paths in the order in which they are added, whether they exist or not. */
export function defaultFiles(env: NodeJS.ProcessEnv): string[] {
  const home = env.HOME || homedir();
  return names.map((name) => join(home, ".ssh", name));
}
