/** Which private key belongs to which public key, when the keys of a token are listed. */
import { setImmediate } from "node:timers/promises";
import type { LeftOut } from "../messages.ts";
import type { Cryptoki, Handle } from "./cryptoki.ts";
import {
  compareDistances,
  type PrivateKey,
  type PublicSide,
  privateKeys,
  searchAll,
  tryReadPublicKey,
} from "./private-keys.ts";
import { readAll, TokenObjects } from "./token-objects.ts";

/** The result of `pair`. */
interface Pairs<Key> {
  readonly pairs: Map<Key, PrivateKey>;
  /** Private keys that belong to none of the public keys. */
  readonly alone: readonly PrivateKey[];
}

/** A public key, and a private key that may be its own. */
interface Claim<Key> {
  readonly key: Key;
  readonly own: PrivateKey;
  readonly distance: ReturnType<PrivateKey["distance"]>;
}

/**
 * Pairs public keys with private keys: by CKA_ID where that is unambiguous, else the nearest first.
 * A private key belongs to one public key, so one that is left is not on the token, unless its claim
 * is as good as that of the key that got its private key.
 * @param privateHidden whether there may be private keys that the session cannot see
 */
export function pair<Key extends PublicSide>(
  keys: readonly Key[],
  privates: readonly PrivateKey[],
  privateHidden: boolean,
): Pairs<Key> {
  const pairs = pairById(keys, privates);
  const taken = new Set(pairs.values());
  const others = privates.filter((one) => !taken.has(one));
  for (const one of others) tryReadPublicKey(one);
  const claims = keys
    .filter((key) => !pairs.has(key))
    .flatMap((key) => claimsOf(key, others))
    .filter(({ distance: [match, id] }) => !privateHidden || match === 0 || id === 0)
    .sort((one, other) => compareDistances(one.distance, other.distance));
  const won = new Map<PrivateKey, Claim<Key>>();
  for (const claim of claims) {
    if (pairs.has(claim.key) || won.has(claim.own)) continue;
    pairs.set(claim.key, claim.own);
    won.set(claim.own, claim);
  }
  for (const { key, own, distance } of claims) {
    const winner = won.get(own);
    if (pairs.has(key) || winner === undefined) continue;
    if (compareDistances(distance, winner.distance) === 0) pairs.set(key, own);
  }
  const alone = others.filter((one) => !won.has(one) && !isSecondOf(one, pairs));
  return { pairs, alone };
}

/** The pairs that have a CKA_ID to themselves. Reads nothing more from keys with public key objects. */
function pairById<Key extends PublicSide>(
  keys: readonly Key[],
  privates: readonly PrivateKey[],
): Map<Key, PrivateKey> {
  const byId = new Map<string, PrivateKey[]>();
  for (const one of privates) {
    const id = one.object.id.toString("hex");
    const others = byId.get(id);
    if (others === undefined) byId.set(id, [one]);
    else others.push(one);
  }
  const mayBeOwn = (key: Key) =>
    [...new Set(key.ids.map((id) => id.toString("hex")))]
      .flatMap((id) => (id === "" ? [] : (byId.get(id) ?? [])))
      .filter((one) => one.match(key) !== "other");
  const candidates = keys.map((key) => ({ key, own: mayBeOwn(key) }));
  const claimed = new Map<PrivateKey, number>();
  for (const one of candidates.flatMap(({ own }) => own)) {
    claimed.set(one, (claimed.get(one) ?? 0) + 1);
  }
  const pairs = new Map<Key, PrivateKey>();
  for (const { key, own } of candidates) {
    const [only] = own;
    if (only === undefined || own.length > 1 || claimed.get(only) !== 1) continue;
    // A certificate may be older than the key that now has its ID.
    if (key.source !== "key") tryReadPublicKey(only);
    if (only.match(key) !== "other") pairs.set(key, only);
  }
  return pairs;
}

function claimsOf<Key extends PublicSide>(key: Key, privates: readonly PrivateKey[]): Claim<Key>[] {
  return privates
    .filter((own) => own.match(key) !== "other")
    .map((own) => ({ key, own, distance: own.distance(key) }));
}

/** Whether a private key is another object of a key that is paired, such as one that decrypts. */
function isSecondOf<Key extends PublicSide>(
  one: PrivateKey,
  pairs: ReadonlyMap<Key, PrivateKey>,
): boolean {
  return [...pairs.keys()].some((key) => {
    const match = one.match(key);
    return match === "same" || (match === "possible" && one.sharesId(key));
  });
}

/**
 * The keys to which none of the private keys belongs. Other work may run meanwhile.
 * @returns undefined if some private key cannot be read
 * @throws the library's error if a search fails
 */
export async function findWithoutPrivateKey<Key extends PublicSide>(
  cryptoki: Cryptoki,
  session: Handle,
  keys: readonly Key[],
): Promise<Key[] | undefined> {
  const objects = new TokenObjects(cryptoki, session);
  const privates: PrivateKey[] = [];
  const unreadable: LeftOut[] = [];
  for (const object of searchAll(objects)) {
    privates.push(...readAll([object], privateKeys, unreadable));
    await setImmediate();
  }
  objects.checkPresence();
  if (unreadable.length > 0) return undefined;
  const { pairs } = pair(keys, privates, false);
  const signs = (key: Key) => pairs.get(key)?.signs === true;
  return keys.some(signs)
    ? keys.filter((key) => !signs(key))
    : keys.filter((key) => !pairs.has(key)); // those that may not sign are tried when they are used
}
