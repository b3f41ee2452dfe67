/** `--help`, and completion for shells. Only these load `yargs`. */
import yargs from "yargs";
import { usage } from "./usage.ts";

const flags: Readonly<Record<string, string>> = {
  c: "each use of the added keys has to be confirmed",
  C: "certificates only, no plain keys",
  k: "plain keys only, no certificates",
  K: "add the keys that a FIDO authenticator keeps itself",
  d: "remove the files' keys instead of adding them; - reads public keys",
  D: "unload all PKCS#11 libraries and remove all keys and certificates",
  l: "list what the agent holds by fingerprint",
  L: "list what the agent holds as public keys",
  N: "a certificate's end sets no lifetime",
  q: "say nothing when all goes well",
  Q: "list the protocol extensions that the agent knows",
  T: "test whether the agent can sign with these public keys",
  v: "tell more of what is done",
  x: "lock the agent with a passphrase",
  X: "unlock the agent",
  "list-providers": "list loaded PKCS#11 libraries, their tokens and keys",
  json: "with -l, -L, -Q, --list-providers: answer in JSON",
  help: "show this help",
  version: "show the version",
  completion: "print a script that completes options in the shell",
};

const settings: Readonly<Record<string, string>> = {
  E: "hash of fingerprints: sha256 or md5",
  e: "remove the keys of this PKCS#11 library, or of this PKCS#11 URI",
  h: "keys may be used for this destination only: [user@]host or host>[user@]host",
  H: "known_hosts file to find the keys of -h in",
  s: "load this PKCS#11 library or URI; certificates may follow",
  S: "library of FIDO authenticators, for -K and for key files",
  t: "lifetime: seconds, or as in 1h30m",
  "cert-for-card": "certificate for a key on a card: with -s, or for a loaded key",
};

/** The help text. */
export async function helpText(): Promise<string> {
  const options = await describeOptions().getHelp();
  return `${usage}\n\n${options.trim()}`;
}

/** A script for bash or zsh that completes the options of ssh-add. */
export async function completionScript(): Promise<string> {
  const script = captured(() => describeOptions().showCompletionScript());
  return script.replaceAll("ssh-add completion", "ssh-add --completion").trimEnd();
}

/** The words that may stand where the shell asks, one a line. */
export function completions(words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    describeOptions().getCompletion([...words], (error, found) => {
      const words = (found ?? []).filter((word) => !/^--.$/.test(word));
      if (error === null) resolve(words.join("\n"));
      else reject(error);
    });
  });
}

function describeOptions() {
  // Not where the program was started: that folder may be gone.
  const parser = yargs([], "/")
    .scriptName("ssh-add")
    .locale("en")
    .usage("")
    .help(false)
    .version(false)
    .exitProcess(false)
    .wrap(80);
  for (const [name, describe] of Object.entries(flags)) {
    parser.option(name, { describe, type: "boolean" });
  }
  for (const [name, describe] of Object.entries(settings)) {
    parser.option(name, { describe, type: "string", requiresArg: true });
  }
  return parser.epilogue("Full documentation: man ssh-add");
}

/** What yargs would print. */
function captured(print: () => void): string {
  const lines: string[] = [];
  const log = console.log;
  console.log = (...parts: unknown[]) => {
    lines.push(parts.map(String).join(" "));
  };
  try {
    print();
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}
