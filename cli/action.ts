/** What a command line asks for, chosen in the order of precedence that OpenSSH has. */
import { fatal } from "./exit.ts";
import type { LongOptions } from "./long-options.ts";
import type { ShortOptions } from "./short-options.ts";

/** What ssh-add is to do. */
export type Action =
  | "add-files"
  | "remove-files"
  | "add-card"
  | "remove-card"
  | "attach-certificates"
  | "list"
  | "list-keys"
  | "list-providers"
  | "query"
  | "test"
  | "remove-all"
  | "lock"
  | "unlock"
  | "add-resident"
  | "help"
  | "version";

/** Chooses the action. @throws {Exit} when two are asked for that exclude each other */
export function chooseAction(short: ShortOptions, long: LongOptions): Action {
  if (long.help) return "help";
  if (long.version) return "version";
  const exclusive: Action[] = [];
  if (short.lock !== undefined) exclusive.push(short.lock === "x" ? "lock" : "unlock");
  if (short.list !== undefined) exclusive.push(short.list === "l" ? "list" : "list-keys");
  if (short.removeAll) exclusive.push("remove-all");
  if (short.query) exclusive.push("query");
  if (long.listProviders) exclusive.push("list-providers");
  if (exclusive.length > 1) throw fatal("Invalid combination of actions");
  return exclusive[0] ?? chooseMild(short, long);
}

/** Actions that OpenSSH lets stand together, where the first of these wins. */
function chooseMild(short: ShortOptions, long: LongOptions): Action {
  if (short.test) return "test";
  if (short.provider !== undefined) return short.deleting ? "remove-card" : "add-card";
  if (short.resident) return "add-resident";
  if (short.deleting) return "remove-files";
  return long.cardCertificates.length > 0 ? "attach-certificates" : "add-files";
}
