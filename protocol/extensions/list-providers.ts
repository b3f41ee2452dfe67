/** `list-providers@cardagent.alt`: the loaded PKCS#11 providers. The request has no body. */
import { malformed } from "../failure.ts";
import { nameOfNumber } from "../numbers.ts";
import { Reader, readStrings, Writer } from "../wire.ts";

/** The states of a provider and their numbers on the wire. Numbers are never reused. */
export const providerStates = {
  ready: 0,
  "card-absent": 1,
  "pin-needed": 2,
  "module-failed": 3,
} as const;

/** The state of a provider or token. */
export type ProviderState = keyof typeof providerStates;

/** The text fields of a token's CK_TOKEN_INFO, without the padding. */
export interface TokenDescription {
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
}

/**
 * A loaded PKCS#11 provider with its state, tokens, keys and certificates, as
 * `AgentClient.listProviders` returns it.
 */
export interface ProviderDescription {
  /** The canonical path or PKCS#11 URI, for `remove-smartcard-key`. */
  readonly path: string;
  /** The path or URI that it was loaded with. */
  readonly requested: string;
  readonly state: ProviderState;
  readonly tokens: readonly TokenDescription[];
  /** The blobs of its keys and certificates. */
  readonly identities: readonly Buffer[];
  /** The state of each token, in the order of `tokens`, if the agent reports it. */
  readonly tokenStates?: readonly ProviderState[];
  /**
   * Whether the tokens are given back, for other programs, until the next signature; the states are
   * then what that will need. Undefined if the agent does not report it.
   */
  readonly isReleased?: boolean;
}

/** Encodes the body of the reply: a `string` for each provider. */
export function encodeListProvidersReply(providers: readonly ProviderDescription[]): Buffer {
  const writer = new Writer();
  for (const provider of providers) writer.string(encodeRecord(provider));
  return writer.finish();
}

/** Decodes the body of the reply and ignores trailing bytes of a record. @throws {Failure} malformed */
export function decodeListProvidersReply(body: Uint8Array): ProviderDescription[] {
  return readStrings(body).map(decodeRecord);
}

function encodeRecord(provider: ProviderDescription): Buffer {
  const tokens = new Writer();
  for (const { label, manufacturer, model, serial } of provider.tokens) {
    tokens.text(label).text(manufacturer).text(model).text(serial);
  }
  const identities = new Writer();
  for (const identity of provider.identities) identities.string(identity);
  const writer = new Writer()
    .text(provider.path)
    .text(provider.requested)
    .byte(providerStates[provider.state])
    .string(tokens.finish())
    .string(identities.finish());
  const { tokenStates, isReleased } = provider;
  if (tokenStates === undefined) return writer.finish();
  writer.string(Uint8Array.from(tokenStates, (state) => providerStates[state]));
  return isReleased === undefined ? writer.finish() : writer.bool(isReleased).finish();
}

function decodeRecord(record: Buffer): ProviderDescription {
  const reader = new Reader(record);
  const path = reader.text();
  const requested = reader.text();
  const state = stateByNumber(reader.byte());
  const tokens = decodeTokens(reader.string());
  const identities = readStrings(reader.string());
  const provider = { path, requested, state, tokens, identities };
  if (reader.remaining === 0) return provider;
  const withStates = { ...provider, tokenStates: Array.from(reader.string(), stateByNumber) };
  return reader.remaining === 0 ? withStates : { ...withStates, isReleased: reader.bool() };
}

function decodeTokens(bytes: Buffer): TokenDescription[] {
  const reader = new Reader(bytes);
  const tokens: TokenDescription[] = [];
  while (reader.remaining > 0) {
    const label = reader.text();
    const manufacturer = reader.text();
    const model = reader.text();
    tokens.push({ label, manufacturer, model, serial: reader.text() });
  }
  return tokens;
}

function stateByNumber(number: number): ProviderState {
  const state = nameOfNumber(providerStates, number);
  if (state === undefined) throw malformed(`Provider state ${number} is not known.`);
  return state;
}
