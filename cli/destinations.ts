/** Destination constraints (`-h`), with the host keys from known_hosts files. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fatal } from "../openssh/exit.ts";
import { homeDirectory } from "../openssh/home-directory.ts";
import { errorCode } from "../openssh/strerror.ts";
import type { Constraint, DestinationConstraint, Hop, HostKey } from "../protocol/constraints.ts";
import { decodeText } from "../protocol/text.ts";
import { errorText } from "./console.ts";
import type { Context } from "./context.ts";
import { findHostKeys } from "./files/known-hosts.ts";

const defaultFiles = [
  "~/.ssh/known_hosts",
  "~/.ssh/known_hosts2",
  "/etc/ssh/ssh_known_hosts",
  "/etc/ssh/ssh_known_hosts2",
] as const;

/** The host on which the agent runs. */
const origin: Hop = { user: "", host: "", keys: [] };

/** Finds the keys of a host. */
type Lookup = (host: string) => HostKey[];

/** The destinations on the command line. @throws {Exit} for an unknown host */
export function destinationConstraint({ env, options, debug }: Context): Constraint {
  const paths = options.hostKeyFiles.length > 0 ? options.hostKeyFiles : defaultFiles;
  const files = paths.map((path) => readKnownHosts(expandHome(path, env)));
  const lookup: Lookup = (host) => {
    for (const { path, problem } of files) {
      debug(2, `parse_dest_constraint_hop: looking up host keys for "${host}" in ${path}`);
      if (problem !== "") debug(1, `load_hostkeys: fopen ${path}: ${problem}`);
    }
    return findHostKeys(
      files.map(({ text }) => text),
      host,
    );
  };
  const destinations = options.destinations.map((text, at) => {
    const destination = parseDestination(text, lookup);
    const from = describeHop(destination.from, "(ORIGIN)");
    const to = describeHop(destination.to, "(ANY)");
    debug(2, `parse_dest_constraint: constraint ${at}: ${from} > ${to}`);
    return destination;
  });
  return { type: "restrict-destination", destinations };
}

/** Parses `[user@]host`, or `host>[user@]host` for use through a forwarded agent. */
function parseDestination(text: string, lookup: Lookup): DestinationConstraint {
  const at = text.indexOf(">");
  if (at < 0) return { from: origin, to: parseHop(text, lookup) };
  const from = parseHop(text.slice(0, at), lookup);
  const to = parseHop(text.slice(at + 1), lookup);
  if (from.user !== "") {
    const part = text.slice(0, at);
    throw fatal(`Invalid key constraint ${part}: cannot specify user on 'from' host`);
  }
  return { from, to };
}

function parseHop(text: string, lookup: Lookup): Hop {
  // The last one, as in OpenSSH 10: user names may have an @ of their own.
  const at = text.lastIndexOf("@");
  const user = at < 0 ? "" : text.slice(0, at);
  const host = text.slice(at + 1).replace(/^\[([^\]]*)\]$/, "$1");
  if (host === "") {
    if (at < 0) {
      throw fatal(`Invalid key destination constraint "${text}": does not specify user or host`);
    }
    return { user, host, keys: [] };
  }
  const keys = lookup(host);
  if (keys.length === 0) throw fatal(`No host keys found for destination "${host}"`);
  return { user, host, keys };
}

/** @param unnamed the name of a hop without a host */
function describeHop({ user, host, keys }: Hop, unnamed: string): string {
  const before = user === "" && host !== "" ? "" : `${user}@`;
  const name = host === "" ? unnamed : host;
  return `${name === "(ORIGIN)" ? "" : before}${name} (${keys.length} keys)`;
}

/** A known_hosts file; one that cannot be read is treated as empty. */
function readKnownHosts(path: string): { path: string; text: string; problem: string } {
  try {
    return { path, text: decodeText(readFileSync(path)), problem: "" };
  } catch (error) {
    // OpenSSH reports only a failed fopen(3), which succeeds for a directory.
    const problem = errorCode(error) === "EISDIR" ? "" : errorText(error);
    return { path, text: "", problem };
  }
}

function expandHome(path: string, env: NodeJS.ProcessEnv): string {
  if (!path.startsWith("~/")) return path;
  const home = homeDirectory(env);
  if (home === undefined) throw fatal(`tilde_expand: No such uid ${process.getuid?.()}`);
  return join(home, path.slice(2));
}
