/** `--help`. Only this loads `yargs`. */
import yargs from "yargs";
import { usage } from "./options.ts";

/** In the order of the manual page. */
const descriptions: Readonly<Record<string, string>> = {
  C: "certificates only, no plain keys",
  c: "each use of the added keys has to be confirmed",
  "cert-for-card": "certificate for a key on a card: with -s, or for a loaded key",
  D: "unload all PKCS#11 libraries and remove all keys and certificates",
  d: "remove the files' keys instead of adding them; - reads public keys",
  E: "hash of fingerprints: sha256 or md5",
  e: "remove the keys of this PKCS#11 library, or of this PKCS#11 URI",
  H: "known_hosts file to find the keys of -h in",
  h: "keys may be used for this destination only: [user@]host or host>[user@]host",
  help: "show this help",
  json: "with -l, -L, -Q, --list-providers: answer in JSON",
  K: "add the keys that a FIDO authenticator keeps itself",
  k: "plain keys only, no certificates",
  L: "list what the agent holds as public keys",
  "list-providers": "list loaded PKCS#11 libraries, their tokens and keys",
  l: "list what the agent holds by fingerprint",
  N: "a certificate's end sets no lifetime",
  Q: "list the protocol extensions that the agent knows",
  q: "say nothing when all goes well",
  S: "library of FIDO authenticators, for -K and for key files",
  s: "load this PKCS#11 library or URI; certificates may follow",
  T: "test whether the agent can sign with these public keys",
  t: "lifetime: seconds, or as in 1h30m",
  v: "tell more of what is done",
  version: "show the version",
  X: "unlock the agent",
  x: "lock the agent with a passphrase",
};

/** The help text. */
export async function helpText(): Promise<string> {
  // Not where the program was started: that folder may be gone.
  const parser = yargs([], "/").locale("en").usage("").help(false).version(false).wrap(80);
  // Options without a type: yargs would show it in a column.
  for (const [name, describe] of Object.entries(descriptions)) parser.option(name, { describe });
  const options = await parser.epilogue("Full documentation: man ssh-add").getHelp();
  return `${usage}\n\n${options.trim()}`;
}
