/** `--help`. Only this loads `yargs`. */
import yargs from "yargs";
import { usage } from "./options.ts";

/** In the order of the manual page. */
const descriptions: Readonly<Record<string, string>> = {
  C: "certificates only, not plain keys",
  c: "require confirmation for each use of the added keys",
  "cert-for-card": "certificate for a key on a token: with -s, or for a loaded key",
  D: "unload all PKCS#11 libraries and remove all keys and certificates",
  d: "remove keys instead of adding them; - reads public keys",
  E: "hash algorithm of fingerprints: sha256 or md5",
  e: "unload this PKCS#11 library, or remove the keys of a PKCS#11 URI",
  H: "known_hosts file to look up the host keys for -h in",
  h: "constrain keys to this destination: [user@]host or host>[user@]host",
  help: "print this help",
  json: "with -l, -L, -Q, --list-providers: print JSON",
  K: "add the resident keys of a FIDO authenticator",
  k: "plain keys only, not certificates",
  L: "list identities as public keys",
  "list-providers": "list loaded PKCS#11 libraries, upstream agents, and their keys",
  l: "list identities by fingerprint",
  N: "do not derive a lifetime from a certificate's expiry",
  only: "with -s: load only this key; a public key file or a fingerprint",
  P: "with -s, -K: do not ask for the PIN",
  Q: "list the protocol extensions that the agent supports",
  q: "be quiet after success",
  S: "library for FIDO authenticators, for -K and for key files",
  s: "load this PKCS#11 library or URI; certificates may follow",
  T: "test whether the agent can sign with these public keys",
  t: "lifetime: seconds, or as in 1h30m",
  v: "print debugging messages; with -l, what certificates say",
  version: "print the version",
  "write-public-keys": "write the agent's public keys and certificates to this folder",
  X: "unlock the agent",
  x: "lock the agent with a passphrase",
};

/** The help text. */
export async function helpText(): Promise<string> {
  // The default is the working directory, which may have been deleted.
  const parser = yargs([], "/").locale("en").usage("").help(false).version(false).wrap(80);
  // No types: yargs would print them in a column.
  for (const [name, describe] of Object.entries(descriptions)) parser.option(name, { describe });
  const options = await parser.epilogue("Full documentation: man ssh-add").getHelp();
  return `${usage}\n\n${options.trim()}`;
}
