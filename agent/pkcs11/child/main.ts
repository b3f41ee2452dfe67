/**
 * The child process of a provider: the only one that loads the PKCS#11 library.
 *
 * It speaks with the agent over descriptor 3 (messages.ts) and ends when that closes. Calls of the
 * library may block here; C_Sign and C_Login run on other threads, so that several are under way.
 */
import { Socket } from "node:net";
import { formatPkcs11Uri } from "../../../openssh/pkcs11-uri.ts";
import { readInto } from "../../../openssh/secret-input.ts";
import { asFailure, Failure } from "../../../protocol/failure.ts";
import { FrameReader, frame } from "../../../protocol/framing.ts";
import { systemClock } from "../../host/clock.ts";
import { restoreNodeEnvironment } from "../../host/node-environment.ts";
import {
  type ChildReply,
  type ChildRequest,
  decodeRequest,
  encodeReply,
  maxMessageLength,
  secretOf,
} from "../messages.ts";
import type { Handle } from "./cryptoki.ts";
import { protectProcess } from "./hardening.ts";
import { Library } from "./library.ts";
import { PinCache } from "./login.ts";
import { Module } from "./module.ts";
import { openEarly, openTokens, restoreTokens } from "./open-tokens.ts";
import { getReadyForKeys } from "./public-keys.ts";

const agentDescriptor = 3;

let module: Module | undefined;
/** Sessions that were opened before anything was asked of their tokens. */
let early: readonly Handle[] = [];
let library: Library | undefined;
let underWay = 0;
let finishing = false;

function main(): void {
  restoreNodeEnvironment(process.env); // libraries may ask for OPENSSL_CONF, or run programs
  protectProcess();
  const frames = new FrameReader(maxMessageLength);
  const send = (reply: ChildReply) => {
    const message = encodeReply(reply);
    if (message.length > maxMessageLength) throw tooManyKeys();
    socket.write(frame(message));
  };
  const receive = (chunk: Buffer) => {
    for (const message of frames.push(Buffer.from(chunk)))
      void answer(decodeRequest(message), send);
  };
  const socket = new Socket({ fd: agentDescriptor, ...readInto(receive) }).resume();
  socket.on("error", agentGone);
  socket.on("close", agentGone);
  setImmediate(getReady);
}

/**
 * Does what the first request would have to wait for, unless that is here already: a process is
 * often started while a PIN is typed. Node.js takes milliseconds to load its part of OpenSSL, and
 * that to find what reads a key.
 */
function getReady(): void {
  if (underWay === 0) getReadyForKeys();
}

type Send = (reply: ChildReply) => void;

async function answer(request: ChildRequest, send: Send): Promise<void> {
  if (request.type === "forget") return library?.forgetPins();
  if (request.type === "finish") return finish();
  underWay++;
  try {
    send(await replyAndWipe(request));
  } catch (error) {
    send({ type: "failed", id: request.id, failure: asFailure(error) });
  } finally {
    underWay--;
    if (finishing) finish();
  }
}

type Question = Exclude<ChildRequest, { readonly type: "forget" | "finish" }>;

/** Whoever has the reply can be sure that the PIN is overwritten. */
async function replyAndWipe(request: Question): Promise<ChildReply> {
  try {
    return await reply(request);
  } finally {
    secretOf(request)?.fill(0);
  }
}

async function reply(request: Question): Promise<ChildReply> {
  const { id } = request;
  switch (request.type) {
    case "open":
      early = openEarly(start(request.path));
      return { type: "done", id };
    case "load": {
      const { path, selection, keepPin, pin } = request;
      const loaded = start(path);
      const tokens = await openTokens(loaded, caches(keepPin), selection, pin, early);
      library = new Library(loaded, tokens);
      return { type: "loaded", id, inventory: library.inventory };
    }
    case "restore": {
      const { path, keepPin, inventory } = request;
      const loaded = start(path);
      library = new Library(loaded, restoreTokens(loaded, caches(keepPin), inventory));
      return { type: "done", id };
    }
    case "sign": {
      const { key, algorithm, data, pin } = request;
      return { type: "signed", id, signature: await ready().sign(key, algorithm, data, pin) };
    }
    case "login":
      await ready().login(request.token, request.pin);
      return { type: "done", id };
    case "state":
      return { type: "state", id, tokens: (await library?.states()) ?? [] };
  }
}

/** Loads the library, unless that is done. @throws {Failure} as `Module` */
function start(path: string): Module {
  module ??= new Module(path);
  return module;
}

function ready(): Library {
  if (library === undefined) throw new Failure("internal", "No library is loaded.");
  return library;
}

function caches(keepPin: number): () => PinCache {
  return () => new PinCache(systemClock, keepPin);
}

/** Only a list of keys is that long. */
function tooManyKeys(): Failure {
  const uri = formatPkcs11Uri({ token: "NAME", modulePath: module?.path });
  return new Failure(
    "too-large",
    "The library shows more keys than the agent can list.",
    `Choose one token or some keys, with a URI: ssh-add -s '${uri}'`,
  );
}

/** Nobody waits for what is under way, and some of it may never end, so the process does not wait. */
function agentGone(): void {
  if (underWay > 0) process.kill(process.pid, "SIGKILL");
  finish();
}

/** Ends the process, with C_Finalize, once no other thread is within the library. */
function finish(): void {
  finishing = true;
  if (underWay > 0) return;
  library?.forgetPins();
  module?.finalize();
  process.exit(0);
}

main();
