/** `list-providers@cardagent.alt`: the loaded PKCS#11 providers. The request has no body. */
import { malformed } from "../failure.ts";
import { maxFrameLength, nameOfNumber } from "../numbers.ts";
import { Reader, readStrings, Writer } from "../wire.ts";
import { extensionNames } from "./names.ts";

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

/** An object of a token, or a token, that was found and is not used. Both texts are safe to display. */
export interface LeftOutObject {
  /** Names it, such as `public key "SIGN key", ID 02`. */
  readonly object: string;
  /** A phrase such as "no private key". */
  readonly reason: string;
  /** The position of its token in `tokens`; undefined if that is not among them. */
  readonly token: number | undefined;
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
  /** What was left out, if the agent reports it; such agents report the two fields above, too. */
  readonly leftOut?: readonly LeftOutObject[];
}

/** The room for the body of the reply in a message, beside its number and name. */
const maxBodyLength = maxFrameLength - 1 - 4 - extensionNames.listProviders.length;

/**
 * Encodes the body of the reply: a `string` for each provider. What was left out is not named if
 * the message would be too long.
 */
export function encodeListProvidersReply(providers: readonly ProviderDescription[]): Buffer {
  const body = encodeRecords(providers);
  if (body.length <= maxBodyLength) return body;
  return encodeRecords(providers.map(({ leftOut: _, ...provider }) => provider));
}

function encodeRecords(providers: readonly ProviderDescription[]): Buffer {
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
  const { tokenStates, isReleased, leftOut } = provider;
  if (tokenStates === undefined) return writer.finish();
  writer.string(Uint8Array.from(tokenStates, (state) => providerStates[state]));
  if (isReleased === undefined) return writer.finish();
  writer.bool(isReleased);
  return leftOut === undefined ? writer.finish() : writer.string(encodeLeftOut(leftOut)).finish();
}

/** The position of a token that is not listed. */
const noToken = 0xffff_ffff;

function encodeLeftOut(leftOut: readonly LeftOutObject[]): Buffer {
  const writer = new Writer();
  for (const { object, reason, token = noToken } of leftOut) {
    writer.uint32(token).text(object).text(reason);
  }
  return writer.finish();
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
  const tokenStates = Array.from(reader.string(), stateByNumber);
  if (reader.remaining === 0) return { ...provider, tokenStates };
  const isReleased = reader.bool();
  if (reader.remaining === 0) return { ...provider, tokenStates, isReleased };
  return {
    ...provider,
    tokenStates,
    isReleased,
    leftOut: decodeLeftOut(reader.string(), tokens.length),
  };
}

function decodeLeftOut(bytes: Buffer, tokens: number): LeftOutObject[] {
  const reader = new Reader(bytes);
  const leftOut: LeftOutObject[] = [];
  while (reader.remaining > 0) {
    const token = reader.uint32();
    const object = reader.text();
    const reason = reader.text();
    leftOut.push({ object, reason, token: token < tokens ? token : undefined });
  }
  return leftOut;
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
