/** Resolves a client's name for a provider: a library's path, or a PKCS#11 URI (RFC 7512). */
import { realpath } from "node:fs/promises";
import { isAbsolute } from "node:path";
import {
  formatPkcs11Uri,
  isPkcs11Uri,
  type Pkcs11Uri,
  parsePkcs11Uri,
} from "../../openssh/pkcs11-uri.ts";
import { Failure } from "../../protocol/failure.ts";
import { findModule } from "./module-path.ts";

/** Characters: several times the length of a URI with all attributes of PKCS#11. */
const maxUriLength = 8192;

/** The library and the keys that a request names. */
export interface ResolvedModule {
  readonly requested: string;
  /** The canonical path of the library. */
  readonly library: string;
  /** Selects among its tokens and keys; undefined for all. */
  readonly selection: Pkcs11Uri | undefined;
  /** The provider's name: the library's path, or the canonical URI with that path. */
  readonly name: string;
}

/**
 * Resolves a path or a URI. A URI without a library's path or name means p11-kit's library.
 * @throws {Failure} malformed, no-such-file
 */
export async function resolveModule(requested: string): Promise<ResolvedModule> {
  if (isPkcs11Uri(requested)) return resolveUri(requested, parseUri(requested));
  const library = await canonicalPath(requested);
  return { requested, library, selection: undefined, name: library };
}

/** The same for a parsed URI. @throws {Failure} no-such-file */
export async function resolveUri(requested: string, uri: Pkcs11Uri): Promise<ResolvedModule> {
  const library = await canonicalPath(uri.modulePath ?? (await findModule(uri.moduleName)));
  const selection = { ...uri, moduleName: undefined, modulePath: undefined };
  if (formatPkcs11Uri(selection) === formatPkcs11Uri({})) {
    return { requested, library, selection: undefined, name: library };
  }
  const name = formatPkcs11Uri({ ...selection, modulePath: library });
  return { requested, library, selection, name };
}

/**
 * Parses a URI; one so long that this would block the agent is refused. @throws {Failure} malformed
 */
export function parseUri(text: string): Pkcs11Uri {
  if (text.length <= maxUriLength) return parsePkcs11Uri(text);
  throw new Failure("malformed", `The PKCS#11 URI is longer than ${maxUriLength} characters.`);
}

/** The path of a file with symbolic links resolved. @throws {Failure} no-such-file */
export async function canonicalPath(requested: string): Promise<string> {
  try {
    return await realpath(requested);
  } catch (error) {
    throw noSuchFile(requested, (error as NodeJS.ErrnoException).code);
  }
}

function noSuchFile(requested: string, code: string | undefined): Failure {
  if (code === "EACCES") {
    return new Failure("no-such-file", `The agent may not read the folder of ${requested}.`);
  }
  const sentence = `There is no file ${JSON.stringify(requested)}.`;
  if (isAbsolute(requested)) return new Failure("no-such-file", sentence);
  const hint = "Give the whole path: the agent does not run in your folder.";
  return new Failure("no-such-file", sentence, hint);
}
