/** The default key files. */
import { join } from "node:path";
import { exit } from "../../openssh/exit.ts";
import { homeDirectory } from "../../openssh/home-directory.ts";

const names = [
  "id_rsa",
  "id_ecdsa",
  "id_ecdsa_sk",
  "id_ed25519",
  "id_ed25519_sk",
  "id_mldsa44_ed25519",
] as const;

/**
 * Their paths, in the order in which they are added. They may not exist.
 * @throws {Exit} without a home directory
 */
export function defaultFiles(env: NodeJS.ProcessEnv): string[] {
  const home = homeDirectory(env);
  if (home === undefined) throw exit(`No user found with uid ${process.getuid?.()}`, 1);
  return names.map((name) => join(home, ".ssh", name));
}
