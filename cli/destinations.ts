/** Destination constraints (`-h`): where keys may be used, by the host keys in known_hosts files. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Constraint, DestinationConstraint, Hop } from "../protocol/constraints.ts";
import { decodeText } from "../protocol/text.ts";
import type { Context } from "./context.ts";
import { fatal } from "./exit.ts";
import { findHostKeys } from "./files/known-hosts.ts";

const defaultFiles = [
  "~/.ssh/known_hosts",
  "~/.ssh/known_hosts2",
  "/etc/ssh/ssh_known_hosts",
  "/etc/ssh/ssh_known_hosts2",
] as const;

/** The hop that begins where the agent runs. */
const origin: Hop = { user: "", host: "", keys: [] };

/** All the destinations of the command line. @throws {Exit} when a host is not known */
export function destinationConstraint({ env, options }: Context): Constraint {
  const paths = options.hostKeyFiles.length > 0 ? options.hostKeyFiles : defaultFiles;
  const texts = paths.map((path) => readText(expandHome(path, env)));
  return {
    type: "restrict-destination",
    destinations: options.destinations.map((text) => parseDestination(text, texts)),
  };
}

/** `[user@]host`, or `host>[user@]host` for what a forwarded agent may be used for. */
function parseDestination(text: string, known: readonly string[]): DestinationConstraint {
  const at = text.indexOf(">");
  if (at < 0) return { from: origin, to: parseHop(text, known) };
  const from = parseHop(text.slice(0, at), known);
  const to = parseHop(text.slice(at + 1), known);
  if (from.user !== "") {
    const part = text.slice(0, at);
    throw fatal(`Invalid key constraint ${part}: cannot specify user on 'from' host`);
  }
  return { from, to };
}

function parseHop(text: string, known: readonly string[]): Hop {
  const at = text.indexOf("@");
  const user = at < 0 ? "" : text.slice(0, at);
  const host = text.slice(at + 1).replace(/^\[([^\]]*)\]$/, "$1");
  if (host === "") {
    if (at < 0) {
      throw fatal(`Invalid key destination constraint "${text}": does not specify user or host`);
    }
    return { user, host, keys: [] };
  }
  const keys = findHostKeys(known, host);
  if (keys.length === 0) throw fatal(`No host keys found for destination "${host}"`);
  return { user, host, keys };
}

/** The text of a file; one that cannot be read knows no hosts. */
function readText(path: string): string {
  try {
    return decodeText(readFileSync(path));
  } catch {
    return "";
  }
}

function expandHome(path: string, env: NodeJS.ProcessEnv): string {
  return path.startsWith("~/") ? join(env.HOME || homedir(), path.slice(2)) : path;
}
