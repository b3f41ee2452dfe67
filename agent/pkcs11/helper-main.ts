/**
 * The child process of a provider: the only one that loads the PKCS#11 library.
 *
 * It speaks with the agent over descriptor 3 (messages.ts) and ends when that closes. Calls of the
 * library may block here; signatures are made on other threads, so that several are under way.
 */
import { Socket } from "node:net";
import type { ProviderState } from "../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../protocol/failure.ts";
import { FrameReader, frame } from "../../protocol/framing.ts";
import { loadCryptoki } from "./cryptoki.ts";
import {
  decodeRequest,
  encodeReply,
  type HelperReply,
  type HelperRequest,
  type LoadedKey,
} from "./messages.ts";
import { nativeLogin, protectProcess } from "./native.ts";
import { Token } from "./token.ts";
import { type Module, presentTokens } from "./tokens.ts";

const agentDescriptor = 3;

/** Milliseconds that a process stays awake for the next request. */
const attention = 0.4;

let module: Module | undefined;
let tokens: readonly Token[] = [];
/** The keys of all tokens, in the order in which the agent was told of them. */
let places: readonly { readonly token: Token; readonly index: number }[] = [];
let underWay = 0;
let finishing = false;

function main(): void {
  protectProcess();
  const socket = new Socket({ fd: agentDescriptor });
  const frames = new FrameReader();
  const send = (reply: HelperReply) => socket.write(frame(encodeReply(reply)));
  socket.on("data", (chunk) => {
    const messages = frames.push(chunk);
    const alone = messages.length === 1;
    for (const message of messages) answer(decodeRequest(message), alone, send);
  });
  socket.on("error", agentGone);
  socket.on("close", agentGone);
}

type Send = (reply: HelperReply) => void;

/** @param alone whether nothing else was asked for at the same time */
function answer(request: HelperRequest, alone: boolean, send: Send): void {
  const { id } = request;
  switch (request.type) {
    case "load":
      reply(id, send, () => load(request));
      return;
    case "sign":
      sign(request, alone && underWay === 0, send);
      return;
    case "state":
      reply(id, send, () => ({ type: "state", id, state: state() }));
      return;
    case "finish":
      finish();
      return;
  }
}

function reply(id: number, send: Send, act: () => HelperReply): void {
  try {
    send(act());
  } catch (error) {
    send({ type: "failed", id, failure: asFailure(error) });
  }
}

function sign(request: HelperRequest & { type: "sign" }, alone: boolean, send: Send): void {
  const { id, key, algorithm, data } = request;
  const place = places[key];
  if (place === undefined) {
    const failure = new Failure("key-not-found", "The card has no such key.");
    send({ type: "failed", id, failure });
    return;
  }
  underWay++;
  place.token
    .sign(place.index, algorithm, data, alone)
    .then((signature) => send({ type: "signed", id, signature }))
    .catch((error: unknown) => send({ type: "failed", id, failure: asFailure(error) }))
    .finally(() => {
      underWay--;
      if (finishing) finish();
      else if (alone) lookOut(performance.now() + attention);
    });
}

/**
 * Stays awake for a moment after a signature that nobody else waited for: a client that signs again
 * and again has its next request here sooner than a sleeping process could be woken for it.
 */
function lookOut(end: number): void {
  if (underWay === 0 && performance.now() < end) setImmediate(lookOut, end);
}

function load({ id, path, pin }: HelperRequest & { type: "load" }): HelperReply {
  try {
    module = { path, cryptoki: loadCryptoki(path), login: nativeLogin(path) };
    tokens = openTokens(module, pin);
  } finally {
    pin.fill(0);
  }
  const keys: LoadedKey[] = [];
  const found: { token: Token; index: number }[] = [];
  const seen = new Set<string>();
  for (const token of tokens) {
    for (const [index, { keyBlob, label }] of token.keys.entries()) {
      const name = keyBlob.toString("latin1");
      if (seen.has(name)) continue;
      seen.add(name);
      found.push({ token, index });
      keys.push({ keyBlob, label, needsPin: token.needsPin });
    }
  }
  places = found;
  return { type: "loaded", id, tokens: tokens.map(({ description }) => description), keys };
}

/** Opens every token that can be; if none can, the first one says why. */
function openTokens(loaded: Module, pin: Buffer): Token[] {
  const opened: Token[] = [];
  const failures: unknown[] = [];
  for (const found of presentTokens(loaded)) {
    try {
      opened.push(Token.open(loaded, found, pin));
    } catch (error) {
      failures.push(error);
    }
  }
  if (opened.length === 0) throw failures[0];
  return opened;
}

/** The best that any of the tokens can do. */
function state(): ProviderState {
  const states = tokens.map((token) => token.state());
  const order: ProviderState[] = ["ready", "pin-needed", "card-absent"];
  return order.find((candidate) => states.includes(candidate)) ?? "module-failed";
}

/** Nobody waits for the signatures under way, and some may never end, so the process does not wait. */
function agentGone(): void {
  if (underWay > 0) process.kill(process.pid, "SIGKILL");
  finish();
}

/** Ends the process, with C_Finalize, once no other thread is within the library. */
function finish(): void {
  finishing = true;
  if (underWay > 0) return;
  try {
    module?.cryptoki.C_Finalize();
  } catch {
    // The process ends in any case.
  }
  process.exit(0);
}

main();
