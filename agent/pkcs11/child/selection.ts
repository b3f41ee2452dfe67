/** Selects tokens and keys: by a PKCS#11 URI, and keys by their fingerprints. */

import { matchesKey, matchesToken, type TokenPlace } from "../../../openssh/pkcs11-match.ts";
import type { Pkcs11Uri } from "../../../openssh/pkcs11-uri.ts";
import { Failure } from "../../../protocol/failure.ts";
import { fingerprint } from "../../../protocol/fingerprint.ts";
import { type Handle, libraryFailed, readUlong } from "./cryptoki.ts";
import type { Module } from "./module.ts";
import { findKeys } from "./objects.ts";
import type { TokenKey } from "./private-keys.ts";
import type { FirstSessions } from "./sessions.ts";
import { type PresentToken, preferInitialized, tokenName, trimPadding } from "./slots.ts";

/** What a request selects. */
export interface Selection {
  /** Undefined for all tokens and keys. */
  readonly uri: Pkcs11Uri | undefined;
  /** Fingerprints by SHA-256 or MD5 (`ssh-add --only`); undefined for all keys. */
  readonly only: readonly string[] | undefined;
}

/** The number of tokens that a no-token failure names. */
const maxNames = 8;

/**
 * The tokens that are selected. Of several, those that have the chosen keys, if all of these show
 * without a login: the others are not sent the PIN.
 * @throws {Failure} no-token, if the URI matches none
 */
export function selectTokens(
  { uri, only }: Selection,
  module: Module,
  found: readonly PresentToken[],
  sessions: FirstSessions,
): readonly PresentToken[] {
  const tokens = matchingTokens(uri, module, found);
  if (only === undefined || tokens.length < 2) return tokens;
  const shown = new Map(tokens.map((token) => [token, shownKeys(module, token, sessions)]));
  const all = [...shown.values()].flat();
  const isShown = (print: string) => all.some(({ keyBlob }) => isAmong([print], keyBlob));
  if (!only.every(isShown)) return tokens;
  return tokens.filter((token) => shown.get(token)?.some(({ keyBlob }) => isAmong(only, keyBlob)));
}

/** The keys that a token shows without a login. */
function shownKeys(
  { cryptoki }: Module,
  token: PresentToken,
  sessions: FirstSessions,
): readonly TokenKey[] {
  try {
    const session = sessions.take(token);
    sessions.keep(token, session);
    return findKeys(cryptoki, session, true).keys;
  } catch {
    return []; // then all tokens are opened, which reports the error
  }
}

/**
 * The tokens that a URI matches: the initialized ones or, if it matches none of those, the others.
 * @param uri undefined for all
 * @throws {Failure} no-token, if it matches none
 */
function matchingTokens(
  uri: Pkcs11Uri | undefined,
  module: Module,
  found: readonly PresentToken[],
): readonly PresentToken[] {
  if (uri === undefined) return preferInitialized(found);
  const asksForPlace = placeAttributes.some((name) => uri[name] !== undefined);
  const library = asksForPlace ? describeLibrary(module) : undefined;
  const errors: unknown[] = [];
  const wanted = found.filter(({ description, slot }) => {
    const place = library && { library, slot: describeSlot(module, slot, errors) };
    return matchesToken(uri, description, place);
  });
  if (wanted.length > 0) return preferInitialized(wanted);
  if (errors.length > 0) {
    throw libraryFailed(`The library ${module.path} does not say what its slots are`, errors[0]);
  }
  const sentence = `The library ${module.path} sees no token that the PKCS#11 URI matches.`;
  const shown = preferInitialized(found);
  const names = shown.slice(0, maxNames).map(({ description }) => {
    const { label, serial } = description;
    return label && serial
      ? `${tokenName(description)} (serial ${serial})`
      : tokenName(description);
  });
  const more = shown.length > maxNames ? " and more" : "";
  throw new Failure(
    "no-token",
    sentence,
    `The tokens that it sees are ${names.join(", ")}${more}.`,
  );
}

/**
 * The keys that are selected. For a URI, one object of a key is enough: the labels of its objects
 * often differ.
 */
export function selectKeys(
  { uri, only }: Selection,
  found: readonly TokenKey[],
): readonly TokenKey[] {
  return found.filter(({ id, labels, keyBlob }) => {
    const isMatch = uri === undefined || labels.some((label) => matchesKey(uri, { id, label }));
    return isMatch && (only === undefined || isAmong(only, keyBlob));
  });
}

function isAmong(fingerprints: readonly string[], keyBlob: Buffer): boolean {
  return (
    fingerprints.includes(fingerprint(keyBlob, "sha256")) ||
    fingerprints.includes(fingerprint(keyBlob, "md5"))
  );
}

/** The URI attributes that describe the library and the slot. */
const placeAttributes = [
  "libraryManufacturer",
  "libraryDescription",
  "libraryVersion",
  "slotManufacturer",
  "slotDescription",
  "slotId",
] as const;

function describeLibrary({ cryptoki, path }: Module): TokenPlace["library"] {
  const sentence = `The library ${path} does not say what it is`;
  const info = attempt(sentence, () => cryptoki.C_GetInfo());
  const { manufacturerID, libraryDescription, libraryVersion } = info;
  return {
    manufacturer: trimPadding(manufacturerID),
    description: trimPadding(libraryDescription),
    version: libraryVersion,
  };
}

/** @param errors gets the library's, if it does not tell the description, which is then empty */
function describeSlot({ cryptoki }: Module, slot: Handle, errors: unknown[]): TokenPlace["slot"] {
  const id = readUlong(slot) ?? 0n;
  try {
    const { manufacturerID, slotDescription } = cryptoki.C_GetSlotInfo(slot);
    const description = trimPadding(slotDescription);
    return { id, manufacturer: trimPadding(manufacturerID), description };
  } catch (error) {
    errors.push(error);
    return { id, manufacturer: "", description: "" };
  }
}

/** @throws {Failure} module-crashed, with this sentence */
function attempt<Result>(sentence: string, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw libraryFailed(sentence, error);
  }
}
