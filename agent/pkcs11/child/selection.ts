/** Selects tokens and keys by a PKCS#11 URI. */

import { matchesKey, matchesToken, type TokenPlace } from "../../../openssh/pkcs11-match.ts";
import type { Pkcs11Uri } from "../../../openssh/pkcs11-uri.ts";
import { Failure } from "../../../protocol/failure.ts";
import { type Handle, libraryFailed, readUlong } from "./cryptoki.ts";
import type { Module } from "./module.ts";
import type { TokenKey } from "./objects.ts";
import { type PresentToken, preferInitialized, tokenName, trimPadding } from "./slots.ts";

/** The number of tokens that a no-token failure names. */
const maxNames = 8;

/**
 * The tokens that a URI matches: the initialized ones or, if it matches none of those, the others.
 * @param uri undefined for all
 * @throws {Failure} no-token, if it matches none
 */
export function selectTokens(
  uri: Pkcs11Uri | undefined,
  module: Module,
  found: readonly PresentToken[],
): readonly PresentToken[] {
  if (uri === undefined) return preferInitialized(found);
  const asksForPlace = placeAttributes.some((name) => uri[name] !== undefined);
  const library = asksForPlace ? describeLibrary(module) : undefined;
  const wanted = found.filter(({ description, slot }) =>
    matchesToken(uri, description, library && { library, slot: describeSlot(module, slot) }),
  );
  if (wanted.length > 0) return preferInitialized(wanted);
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
 * The keys that a URI matches. One object of a key is enough: the labels of its objects often
 * differ.
 * @param uri undefined for all
 */
export function selectKeys(
  uri: Pkcs11Uri | undefined,
  found: readonly TokenKey[],
): readonly TokenKey[] {
  if (uri === undefined) return found;
  return found.filter(({ id, labels }) => labels.some((label) => matchesKey(uri, { id, label })));
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

function describeSlot({ cryptoki, path }: Module, slot: Handle): TokenPlace["slot"] {
  const sentence = `The library ${path} does not say what its slots are`;
  const { manufacturerID, slotDescription } = attempt(sentence, () => cryptoki.C_GetSlotInfo(slot));
  return {
    id: readUlong(slot) ?? 0n,
    manufacturer: trimPadding(manufacturerID),
    description: trimPadding(slotDescription),
  };
}

/** @throws {Failure} module-crashed, with this sentence */
function attempt<Result>(sentence: string, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw libraryFailed(sentence, error);
  }
}
