/**
 * The agent's end of a provider's child process: starts it, asks it, ends it.
 *
 * The child has the agent's environment without Node.js's variables, no terminal, and one
 * descriptor: a Unix socket pair. The library's output is discarded, except that its standard error
 * can be shown for debugging.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { Failure } from "../../protocol/failure.ts";
import { FrameReader, frame } from "../../protocol/framing.ts";
import { cleanNodeEnvironment } from "../host/node-environment.ts";
import type { Command } from "../host/program.ts";
import {
  type ChildReply,
  type ChildRequest,
  decodeReply,
  encodeRequest,
  maxMessageLength,
  secretOf,
} from "./messages.ts";

/**
 * Timeouts in milliseconds. A library that exceeds `load`, `sign`, `release` or `close` is killed.
 */
export interface ProviderLimits {
  /** Loading the library, logging in and finding its keys. */
  readonly load: number;
  /** One signature, from its turn at the token on; includes a touch or an entry at a PIN pad. */
  readonly sign: number;
  /** The state of its tokens; a slower library counts as failed, but keeps running. */
  readonly status: number;
  /** C_Finalize for tokens that nobody uses, which costs the cached PIN if it takes longer. */
  readonly release: number;
  /** C_Finalize and the end of the process. */
  readonly close: number;
  /** A slower signature is announced to the user. */
  readonly notice: number;
}

/** The default limits. */
export const defaultLimits: ProviderLimits = {
  load: 30_000,
  sign: 60_000,
  status: 2_000,
  release: 10_000,
  close: 1_000,
  notice: 500,
};

/** A request that waits for its reply. */
interface Pending {
  readonly type: ChildRequest["type"];
  /** The index of the token that it is for, if any. */
  readonly token: number | undefined;
  readonly resolve: (reply: ChildReply) => void;
  readonly reject: (failure: Failure) => void;
  readonly timer: NodeJS.Timeout;
}

/** A request without its ID, which `Child` assigns. */
export type Question = ChildRequest extends infer Request
  ? Request extends ChildRequest
    ? Omit<Request, "id">
    : never
  : never;

/** What a timeout does to the process. */
export type WhenLate = "kill" | "leave";

const agentDescriptor = 3;

/** The running processes. They exit with the agent by themselves, but their groups would not. */
const running = new Set<Child>();

function endRunning(): void {
  for (const child of running) child.kill();
}

/** A child process, in which one library can be loaded. */
export class Child {
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;
  readonly #process: ChildProcess;
  readonly #socket: Duplex | undefined;
  #path = "";
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #failure: Failure | undefined;
  /** Why the agent ended the process, if it did. */
  #endReason: Failure | undefined;

  /**
   * Starts a child process, which loads a library only when asked to.
   * @param showModuleMessages whether the library's standard error goes to the agent's
   */
  constructor(command: Command, showModuleMessages: boolean) {
    const stderr = showModuleMessages ? "inherit" : "ignore";
    this.#process = spawn(command.file, command.args, {
      // A process group of its own: it is killed as a whole, and Control-C at the agent's terminal
      // does not reach it.
      detached: true,
      env: cleanNodeEnvironment(process.env),
      stdio: ["ignore", "ignore", stderr, "pipe"],
    });
    if (running.size === 0) process.once("exit", endRunning);
    running.add(this);
    this.ended = new Promise((resolve) => {
      this.#process.once("exit", (code, signal) => {
        this.kill(); // also what the library has started
        this.#fail(this.#endReason ?? crashed(this.#path, code, signal));
        resolve();
      });
      this.#process.once("error", () => {
        const sentence = "The agent could not start a process for the library.";
        const hint =
          "See whether it may have no more processes or open files: ulimit -u, ulimit -n.";
        this.#fail(new Failure("internal", sentence, hint));
        resolve();
      });
    });
    // Undefined when the process could not be started; the error event reports that.
    this.#socket = this.#process.stdio?.[agentDescriptor] as Duplex | undefined;
    this.#listen();
  }

  /** The process ID, for the log. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Names the library, for messages about the process. @param path the library's path */
  serve(path: string): void {
    this.#path = path;
  }

  /** Whether it accepts questions. */
  get running(): boolean {
    return this.#failure === undefined && this.#endReason === undefined;
  }

  /**
   * Asks the process.
   * @param limit timeout in milliseconds
   * @param late what a timeout does to the process
   * @param token index of the token that it is for. A token handles one request at a time, so the
   *   timeout restarts when an earlier request for the token is done.
   * @throws {Failure} the library's own, module-crashed, module-timeout
   */
  ask(question: Question, limit: number, late: WhenLate, token?: number): Promise<ChildReply> {
    const gone = this.#failure ?? this.#endReason;
    if (gone !== undefined) return Promise.reject(gone);
    this.#lastId = (this.#lastId + 1) >>> 0;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#timeOut(id, limit, late), limit);
      this.#pending.set(id, { type: question.type, token, resolve, reject, timer });
      this.#send({ ...question, id });
    });
  }

  /** Whether a signature or a login is in progress, which may wait for the user. */
  get isSigning(): boolean {
    return [...this.#pending.values()].some(({ type }) => type === "sign" || type === "login");
  }

  /** Sends a message that has no reply. */
  tell(message: Question): void {
    if (this.running) this.#send({ ...message, id: 0 });
  }

  /**
   * Ends the process: asks for C_Finalize, and kills it after `limit` milliseconds. Pending
   * requests fail with not-loaded.
   */
  async close(limit: number): Promise<void> {
    if (this.#failure === undefined) {
      this.#endReason ??= unloaded(this.#path);
      this.#send({ type: "finish", id: 0 });
      const timer = setTimeout(() => this.kill(), limit);
      await this.ended;
      clearTimeout(timer);
    }
    this.#socket?.destroy();
  }

  /** Kills the process. Pending requests fail with not-loaded. */
  async abort(): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#kill(unloaded(this.#path));
    await this.ended;
  }

  /** Kills the process and the group that it leads. */
  kill(): void {
    const { pid } = this.#process;
    if (pid === undefined || this.#failure !== undefined) return; // the PID may be reused by now
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // the group has ended
    }
  }

  #send(request: ChildRequest): void {
    const message = encodeRequest(request);
    const framed = frame(message);
    if (secretOf(request) === undefined) {
      this.#socket?.write(framed);
      return;
    }
    message.fill(0);
    const wipe = () => framed.fill(0);
    if (this.#socket === undefined) wipe();
    else this.#socket.write(framed, wipe);
  }

  #listen(): void {
    const frames = new FrameReader(maxMessageLength);
    this.#socket?.on("data", (chunk: Buffer) => {
      try {
        for (const message of frames.push(chunk)) this.#take(decodeReply(message));
      } catch {
        // Usually the library writes to descriptors that are not its own.
        const sentence = `The process of the library ${this.#path} sent an invalid message.`;
        this.#kill(new Failure("module-crashed", sentence));
      }
    });
    // A library that closes descriptors that are not its own ends its process.
    this.#socket?.on("close", () => this.kill());
    this.#socket?.on("error", () => this.kill());
  }

  #take(reply: ChildReply): void {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return; // it has timed out
    this.#pending.delete(reply.id);
    clearTimeout(pending.timer);
    if (pending.token !== undefined) this.#restartTimers(reply.id, pending.token);
    if (reply.type === "failed") pending.reject(reply.failure);
    else pending.resolve(reply);
  }

  /** Restarts the timeouts of later requests, which may have waited for this one. */
  #restartTimers(id: number, token: number): void {
    for (const [later, waiting] of this.#pending) {
      if (later > id && waiting.token === token) waiting.timer.refresh();
    }
  }

  #timeOut(id: number, limit: number, late: WhenLate): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    const sentence = `The library ${this.#path} did not answer within ${limit / 1000} seconds.`;
    const failure = new Failure("module-timeout", sentence);
    pending?.reject(failure);
    if (late === "kill") this.#kill(failure);
  }

  #kill(reason: Failure): void {
    this.#endReason ??= reason;
    this.kill();
  }

  #fail(failure: Failure): void {
    this.#failure ??= failure;
    running.delete(this);
    if (running.size === 0) process.off("exit", endRunning);
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(failure);
    }
    this.#pending.clear();
    this.#socket?.destroy();
  }
}

/** Narrows a reply to the expected type. @throws {Failure} internal, for any other */
export function expected<Type extends ChildReply["type"]>(
  reply: ChildReply,
  type: Type,
): ChildReply & { type: Type } {
  if (isReply(reply, type)) return reply;
  throw new Failure("internal", "The process of the library sent an unexpected reply.");
}

function isReply<Type extends ChildReply["type"]>(
  reply: ChildReply,
  type: Type,
): reply is ChildReply & { type: Type } {
  return reply.type === type;
}

function unloaded(path: string): Failure {
  return new Failure("not-loaded", `The library ${path} was unloaded.`);
}

function crashed(path: string, code: number | null, signal: NodeJS.Signals | null): Failure {
  const how = signal === null ? `with status ${code}` : `by ${signal}`;
  return new Failure("module-crashed", `The process of the library ${path} was ended ${how}.`);
}
