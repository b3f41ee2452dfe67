/**
 * Shared by the tests with YubiKeys: a card in a reader of its own, and the library that uses it.
 */
import type { ExecutionContext } from "ava";
import { openscLibrary, ykcs11Library } from "../../fixtures/system-programs.ts";
import {
  type CardReader,
  makeYubiKey,
  startCardReader,
  type VirtualYubiKey,
  type YubiKeyOptions,
} from "../../fixtures/virtual-yubikey/index.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import type { UserInteraction } from "../signer.ts";
import type { CardKey, Provider } from "./provider.ts";
import type { ProviderRegistry } from "./registry.ts";
import {
  makeRegistry,
  noUser,
  type Outcome,
  pinOf,
  signWithKey,
  type TestOptions,
} from "./test-registry.ts";

/** The libraries that support YubiKeys. */
export type LibraryName = "ykcs11" | "opensc";

const libraries = { ykcs11: ykcs11Library, opensc: openscLibrary } as const;

/** Both of them, for tests that hold for each. */
export const libraryNames: readonly LibraryName[] = ["ykcs11", "opensc"];

/** The PIN that a YubiKey has unless a test says otherwise. */
export const cardPin = "123456";

/** Options of a test. */
export interface CardOptions extends TestOptions {
  readonly card?: YubiKeyOptions;
  /** The PIN that the library is loaded with; empty for none. */
  readonly pin?: string;
}

/** A card in the first slot of a reader, and the loaded library. */
export interface CardInUse {
  readonly workspace: Workspace;
  readonly card: VirtualYubiKey;
  readonly reader: CardReader;
  readonly registry: ProviderRegistry;
  readonly library: string;
  readonly provider: Provider;
}

/** A card in a reader of its own, before its library is loaded. */
export async function insertedCard(t: ExecutionContext, name: LibraryName, options: CardOptions) {
  const workspace = makeWorkspace(t);
  const card = await makeYubiKey(options.card ?? { keys: [{ slot: "9a", type: "p256" }] });
  const reader = await startCardReader(workspace, { cards: [card] });
  const registry = makeRegistry(t, { ...options, env: { ...reader.env, ...options.env } });
  return { workspace, card, reader, registry, library: libraries[name]() };
}

/** The same with the library loaded; without other options the card has a key in slot 9a. */
export async function cardInUse(
  t: ExecutionContext,
  name: LibraryName,
  options: CardOptions = {},
): Promise<CardInUse> {
  const inserted = await insertedCard(t, name, options);
  const { library, registry } = inserted;
  const provider = await registry.add(library, pinOf(options.pin ?? cardPin));
  return { ...inserted, provider };
}

/** The provider's key that is in a slot of a card. */
export function keyIn(provider: Provider, card: VirtualYubiKey, slot: string): CardKey {
  const blob = Buffer.from(card.publicKey(slot).split(" ")[1] ?? "", "base64");
  const key = provider.keys.find(({ keyBlob }) => keyBlob.equals(blob));
  if (key === undefined) throw new Error(`the library shows no key of slot ${slot}`);
  return key;
}

/** "signed", or the code of the refusal, for the key in a slot. */
export function signWith(
  { provider, card }: Pick<CardInUse, "card" | "provider">,
  slot = "9a",
  interaction: UserInteraction = noUser,
): Promise<Outcome> {
  return signWithKey(provider, keyIn(provider, card, slot).keyBlob, interaction);
}
