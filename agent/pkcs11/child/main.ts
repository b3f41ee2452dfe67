/**
 * A provider's child process, the only process that loads the PKCS#11 library.
 *
 * It talks to the agent over descriptor 3 (messages.ts) and exits when that closes. Library calls
 * may block here; C_Sign and C_Login run on other threads, so that several can run at once.
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
import { differingVariables, withEnvironmentHint } from "./environment.ts";
import { protectProcess } from "./hardening.ts";
import { Library } from "./library.ts";
import { PinCache } from "./login.ts";
import { Module } from "./module.ts";
import { openEarly, openTokens, restoreTokens } from "./open-tokens.ts";
import { getReadyForKeys } from "./public-keys.ts";
import { FirstSessions } from "./sessions.ts";

const agentDescriptor = 3;

let module: Module | undefined;
/** Sessions opened by the request "open". */
let earlySessions: FirstSessions | undefined;
/** The client's variables that differ here, of the request "open". */
let differing: readonly string[] = [];
let library: Library | undefined;
let pending = 0;
let finishing = false;

function main(): void {
  restoreNodeEnvironment(process.env); // libraries may read OPENSSL_CONF or run programs
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
  socket.on("error", onAgentClosed);
  socket.on("close", onAgentClosed);
  setImmediate(warmUp);
}

/**
 * Warms up Node.js's crypto before the first request, often while the user still types the PIN:
 * loading OpenSSL and its key decoders takes milliseconds.
 */
function warmUp(): void {
  if (pending === 0) getReadyForKeys();
}

type Send = (reply: ChildReply) => void;

async function answer(request: ChildRequest, send: Send): Promise<void> {
  if (request.type === "forget") return library?.forgetPins();
  if (request.type === "finish") return finish();
  pending++;
  try {
    send(await replyAndWipe(request));
  } catch (error) {
    const failure = asFailure(error);
    const explained = request.type === "load" ? withEnvironmentHint(failure, differing) : failure;
    send({ type: "failed", id: request.id, failure: explained });
  } finally {
    pending--;
    if (finishing) finish();
  }
}

type RequestWithReply = Exclude<ChildRequest, { readonly type: "forget" | "finish" }>;

/** Overwrites the request's PIN before it replies. */
async function replyAndWipe(request: RequestWithReply): Promise<ChildReply> {
  try {
    return await reply(request);
  } finally {
    secretOf(request)?.fill(0);
  }
}

async function reply(request: RequestWithReply): Promise<ChildReply> {
  const { id } = request;
  switch (request.type) {
    case "open":
      differing = differingVariables(request.environment);
      earlySessions = openEarly(start(request.path));
      return { type: "done", id };
    case "load": {
      const { path, selection: uri, only, keepPin, pin } = request;
      const selection = { uri, only };
      const loaded = start(path);
      const sessions = earlySessions ?? new FirstSessions(loaded);
      const opened = await openTokens(loaded, pinCaches(keepPin), selection, pin, sessions);
      library = new Library(loaded, opened);
      return { type: "loaded", id, inventory: library.inventory };
    }
    case "restore": {
      const { path, keepPin, inventory } = request;
      const loaded = start(path);
      library = new Library(loaded, restoreTokens(loaded, pinCaches(keepPin), inventory));
      return { type: "done", id };
    }
    case "sign": {
      const { key, algorithm, data, pin } = request;
      return {
        type: "signed",
        id,
        signature: await loadedLibrary().sign(key, algorithm, data, pin),
      };
    }
    case "login":
      await loadedLibrary().login(request.token, request.pin);
      return { type: "done", id };
    case "release":
      return { type: "released", id, keepsPin: await loadedLibrary().release() };
    case "missing":
      return { type: "missing", id, keys: await loadedLibrary().missingKeys(request.token) };
    case "state":
      return { type: "state", id, tokens: (await library?.states()) ?? [] };
  }
}

/** Loads the library once. @throws {Failure} as `Module` */
function start(path: string): Module {
  if (module !== undefined) return module;
  module = new Module(path);
  module.onStuck = onStuck;
  return module;
}

function loadedLibrary(): Library {
  if (library === undefined) throw new Failure("internal", "No library is loaded.");
  return library;
}

function pinCaches(keepPin: number): () => PinCache {
  return () => new PinCache(systemClock, keepPin);
}

/** The failure of a reply over `maxMessageLength`: only a list of keys can be that long. */
function tooManyKeys(): Failure {
  const uri = formatPkcs11Uri({ token: "NAME", modulePath: module?.path });
  return new Failure(
    "too-large",
    "The library shows more keys than the agent can list.",
    `Choose one token or some keys, with a URI: ssh-add -s '${uri}'`,
  );
}

/** Some libraries can be initialized once in a process: the agent starts another. */
function onStuck(): void {
  library?.forgetPins();
  process.exit(1);
}

/** The agent has closed the connection: exit at once, since a library call may hang. */
function onAgentClosed(): void {
  if (pending > 0) process.kill(process.pid, "SIGKILL");
  finish();
}

/** Calls C_Finalize and exits, once all requests are answered. */
function finish(): void {
  finishing = true;
  if (pending > 0) return;
  library?.forgetPins();
  module?.finalize();
  process.exit(0);
}

main();
