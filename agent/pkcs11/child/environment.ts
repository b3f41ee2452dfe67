/**
 * The environment of the library, which is the agent's, compared with that of the client: libraries
 * find their configuration, and so their tokens, by environment variables.
 */
import { readFileSync } from "node:fs";
import type { Variable } from "../../../protocol/extensions/prepare-provider.ts";
import { Failure, type FailureCode } from "../../../protocol/failure.ts";
import { systemdUnit } from "../../host/systemd.ts";

/** The names of the client's variables that have another value here, or none. */
export function differingVariables(client: readonly Variable[]): string[] {
  return client.filter(({ name, value }) => process.env[name] !== value).map(({ name }) => name);
}

/** The failures that a library gives with the wrong configuration. */
const configurationFailures: readonly FailureCode[] = [
  "no-token",
  "no-usable-key",
  "module-crashed",
  "not-a-pkcs11-module",
];

/**
 * A failure to load the library with a hint about variables that differ, if it reads them.
 * @param differing the names from `differingVariables`
 */
export function withEnvironmentHint(failure: Failure, differing: readonly string[]): Failure {
  if (differing.length === 0 || !configurationFailures.includes(failure.code)) return failure;
  const read = readVariables(differing);
  if (read.length === 0) return failure;
  const isMissing = read.every((name) => process.env[name] === undefined);
  const how = isMissing ? "which ssh-add has and the agent lacks" : "not the same for the agent";
  const what = `The library reads ${read.join(", ")}, ${how}.`;
  const start = startHint(read, systemdUnit(process.env, process.ppid));
  return new Failure(failure.code, failure.message, `${what} ${start} Otherwise: ${failure.hint}`);
}

/** How to give variables to the agent. @param unit the systemd service that it is, if it is one */
export function startHint(names: readonly string[], unit: string | undefined): string {
  if (unit === undefined) return "Start ssh-agent with the value that ssh-add has.";
  const lines = names.map((name) => `Environment=${name}=VALUE`);
  return `Restart ${unit} after "systemctl --user edit ${unit}" with the lines [Service] and ${lines.join(" and ")}.`;
}

/** Those of some variables whose name is in a library of this process; all if that is unknown. */
function readVariables(names: readonly string[]): readonly string[] {
  try {
    const maps = readFileSync("/proc/self/maps", "utf8");
    const libraries = new Set(maps.match(/\/.*\.so\b.*$/gm));
    const contents = [...libraries].map(tryRead);
    return names.filter((name) => contents.some((content) => content.includes(name)));
  } catch {
    return names;
  }
}

function tryRead(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}
