/**
 * The child process of a provider: the only one that loads the PKCS#11 library.
 *
 * It speaks with the agent over descriptor 3 (messages.ts) and ends when that closes. Calls of the
 * library may block here; signatures and logins are made on other threads, so that several are
 * under way.
 */
import { Socket } from "node:net";
import { formatPkcs11Uri } from "../../../openssh/pkcs11-uri.ts";
import { asFailure, Failure } from "../../../protocol/failure.ts";
import { FrameReader, frame } from "../../../protocol/framing.ts";
import { restoreNodeEnvironment } from "../../host/node-environment.ts";
import {
  type ChildReply,
  type ChildRequest,
  decodeRequest,
  encodeReply,
  maxMessageLength,
  secretOf,
} from "../messages.ts";
import { Library } from "./library.ts";
import { protectProcess } from "./native.ts";
import { getReadyForKeys } from "./objects.ts";

const agentDescriptor = 3;

/** Milliseconds that a process stays awake for the next request. */
const attention = 0.4;

const library = new Library();
let underWay = 0;
let finishing = false;

function main(): void {
  restoreNodeEnvironment(process.env); // libraries may ask for OPENSSL_CONF, or run programs
  process.on("SIGUSR1", () => {}); // or else Node.js opens its debugger, to every user
  protectProcess();
  const socket = new Socket({ fd: agentDescriptor });
  const frames = new FrameReader(maxMessageLength);
  const send = (reply: ChildReply) => {
    const message = encodeReply(reply);
    if (message.length > maxMessageLength) throw tooManyKeys(library.path);
    socket.write(frame(message));
  };
  socket.on("data", (chunk) => {
    const messages = frames.push(chunk);
    const alone = messages.length === 1 && underWay === 0;
    for (const message of messages) answer(decodeRequest(message), alone, send);
  });
  socket.on("error", agentGone);
  socket.on("close", agentGone);
  setImmediate(getReady);
}

/**
 * Does what the first request would have to wait for, unless that is here already: a process is
 * often started while somebody types a PIN. Node.js takes milliseconds to load its part of OpenSSL,
 * and that to find what reads a key.
 */
function getReady(): void {
  if (underWay === 0) getReadyForKeys();
}

type Send = (reply: ChildReply) => void;

/** @param alone whether nothing else was asked for at the same time */
function answer(request: ChildRequest, alone: boolean, send: Send): void {
  switch (request.type) {
    case "open":
    case "load":
    case "restore":
    case "sign":
    case "login":
    case "state":
      void carryOut(request, alone, send);
      return;
    case "forget":
      library.forget();
      return;
    case "finish":
      finish();
      return;
  }
}

type Question = Exclude<ChildRequest, { readonly type: "forget" | "finish" }>;

async function carryOut(request: Question, alone: boolean, send: Send): Promise<void> {
  underWay++;
  try {
    send(await replyAndForget(request, alone));
  } catch (error) {
    send({ type: "failed", id: request.id, failure: asFailure(error) });
  } finally {
    underWay--;
    if (finishing) finish();
    else if (alone && request.type === "sign") lookOut(performance.now() + attention);
  }
}

/** Whoever has the reply can be sure that the PIN is overwritten. */
async function replyAndForget(request: Question, alone: boolean): Promise<ChildReply> {
  try {
    return await reply(request, alone);
  } finally {
    secretOf(request)?.fill(0);
  }
}

async function reply(request: Question, alone: boolean): Promise<ChildReply> {
  const { id } = request;
  switch (request.type) {
    case "open":
      library.open(request);
      return { type: "done", id };
    case "load":
      return { type: "loaded", id, inventory: await library.load(request) };
    case "restore":
      library.restore(request);
      return { type: "done", id };
    case "sign":
      return { type: "signed", id, signature: await library.sign(request, alone) };
    case "login":
      await library.login(request);
      return { type: "done", id };
    case "state":
      return { type: "state", id, tokens: await library.states() };
  }
}

/**
 * Stays awake for a moment after a signature that nobody else waited for: a client that signs again
 * and again has its next request here sooner than a sleeping process could be woken for it.
 */
function lookOut(end: number): void {
  if (underWay === 0 && performance.now() < end) setImmediate(lookOut, end);
}

/** Only a list of keys is that long. */
function tooManyKeys(path: string): Failure {
  const uri = formatPkcs11Uri({ token: "NAME", modulePath: path });
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
  library.finish();
  process.exit(0);
}

main();
