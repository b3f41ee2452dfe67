/** The library that speaks with FIDO authenticators. */
import type { Context } from "./context.ts";

/** -S, else SSH_SK_PROVIDER, else the one that is a part of OpenSSH. */
export function skProvider({ options, env }: Context): string {
  return options.skProvider ?? env.SSH_SK_PROVIDER ?? "internal";
}
