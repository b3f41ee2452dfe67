/** `list-providers@cardagent.alt`: which PKCS#11 providers an agent has loaded. No request body. */
import { malformed } from "../failure.ts";
import { Reader, readStrings, Writer } from "../wire.ts";

/** The states of a provider and their numbers on the wire. Numbers are never reused. */
export const providerStates = {
  ready: 0,
  "card-absent": 1,
  "pin-needed": 2,
  "module-failed": 3,
} as const;

/** What a provider can do now. */
export type ProviderState = keyof typeof providerStates;

/** What a token says of itself (CK_TOKEN_INFO), without the padding. */
export interface TokenDescription {
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
}

/**
 * A loaded PKCS#11 provider, with what it can do now, its tokens, and the keys and certificates that
 * it serves, as `AgentClient.listProviders` gets it.
 */
export interface ProviderDescription {
  /** The canonical path or PKCS#11 URI: the one to send with `remove-smartcard-key`. */
  readonly path: string;
  /** The path or URI as it was given when it was loaded. */
  readonly requested: string;
  readonly state: ProviderState;
  readonly tokens: readonly TokenDescription[];
  /** The key blobs and certificate blobs that it serves. */
  readonly identities: readonly Buffer[];
  /** What each of the tokens can do, in their order, if the agent tells it. */
  readonly tokenStates?: readonly ProviderState[];
}

/** Encodes the body of the reply: a `string record` for each provider. */
export function encodeListProvidersReply(providers: readonly ProviderDescription[]): Buffer {
  const writer = new Writer();
  for (const provider of providers) writer.string(encodeRecord(provider));
  return writer.finish();
}

/** Decodes the body of the reply. Bytes at the end of a record are ignored. @throws {Failure} */
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
  const { tokenStates } = provider;
  if (tokenStates === undefined) return writer.finish();
  return writer.string(Uint8Array.from(tokenStates, (state) => providerStates[state])).finish();
}

function decodeRecord(record: Buffer): ProviderDescription {
  const reader = new Reader(record);
  const path = reader.text();
  const requested = reader.text();
  const state = stateByNumber(reader.byte());
  const tokens = decodeTokens(reader.string());
  const identities = readStrings(reader.string());
  const described = { path, requested, state, tokens, identities };
  if (reader.remaining === 0) return described;
  return { ...described, tokenStates: Array.from(reader.string(), stateByNumber) };
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
  for (const state of Object.keys(providerStates) as ProviderState[]) {
    if (providerStates[state] === number) return state;
  }
  throw malformed(`Provider state ${number} is not known.`);
}
