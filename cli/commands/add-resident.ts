/** `ssh-add -K`: adds the resident keys of a FIDO authenticator. */
import { fingerprint } from "../../protocol/fingerprint.ts";
import { wipePrivateKey } from "../../protocol/private-key.ts";
import { encodePublicKey, keyTypeName, type PublicKey } from "../../protocol/public-key.ts";
import { explain, explainRefusal } from "../agent.ts";
import { constraintsFor, describeLimits, skProvider } from "../constraints.ts";
import type { Context } from "../context.ts";
import { loadResidentKeys, ResidentKeysError } from "../files/resident-keys.ts";

/** Asks for the authenticator's PIN and adds all its keys. */
export async function addResident(context: Context): Promise<number> {
  const { client, console, options } = context;
  const { lifetime, hash, quiet } = options;
  const provider = skProvider(context);
  const constraints = await constraintsFor(context, lifetime);
  constraints.push({ type: "sk-provider", provider });
  const keys = await load(context, provider);
  if (keys === undefined) return 1;
  if (keys.length === 0) explain(console, "The authenticator has no resident SSH keys.", "");
  let status = keys.length > 0 ? 0 : 1;
  for (const key of keys) {
    const print = fingerprint(encodePublicKey(key.publicKey), hash);
    const name = `${keyTypeName(key.publicKey)} ${print}`;
    try {
      await client.addIdentity(key, application(key.publicKey), constraints);
      if (quiet) continue;
      console.note(`Resident identity added: ${name}`);
      describeLimits(context, lifetime);
    } catch (error) {
      console.log(`Unable to add key ${name}`);
      await explainRefusal(client, console, error);
      status = 1;
    } finally {
      wipePrivateKey(key);
    }
  }
  return status;
}

/** The application of a key on an authenticator, such as "ssh:": the comment, as in OpenSSH 10. */
function application(key: PublicKey): string {
  return "application" in key ? key.application : "";
}

/** @returns undefined after reporting an error */
async function load({ console, prompter, options, env }: Context, provider: string) {
  const pin = options.asksPin
    ? await prompter.ask("Enter PIN for authenticator: ")
    : Buffer.alloc(0);
  try {
    return await loadResidentKeys(provider, pin, env, options.verbosity);
  } catch (error) {
    if (!(error instanceof ResidentKeysError)) throw error;
    console.log(`Unable to load resident keys: ${error.message}`);
    explain(console, error.reason, error.hint);
    return undefined;
  } finally {
    pin.fill(0);
  }
}
