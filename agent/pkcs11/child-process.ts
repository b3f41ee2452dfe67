/**
 * The agent's end of a provider's child process: starts it, asks it, ends it.
 *
 * The child has the agent's environment but for what is set for Node.js, no terminal of its own, and
 * one descriptor: a Unix socket pair. What a library prints goes nowhere, unless somebody looks for
 * its faults.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { Failure } from "../../protocol/failure.ts";
import { FrameReader, frame } from "../../protocol/framing.ts";
import { cleanNodeEnvironment } from "../host/node-environment.ts";
import {
  type ChildReply,
  type ChildRequest,
  decodeReply,
  encodeRequest,
  maxMessageLength,
  secretOf,
} from "./messages.ts";

/** How a provider's child process is started. */
export interface ChildCommand {
  readonly file: string;
  readonly args: readonly string[];
}

/** How long a library may take, in milliseconds. Its process is killed when it takes longer. */
export interface ProviderLimits {
  /** Loading the library, login and finding its keys. */
  readonly load: number;
  /** One signature, from its turn at the token on: a touch or a PIN pad may be part of it. */
  readonly sign: number;
  /** The state of its tokens; a library that takes longer counts as failed, but is left alone. */
  readonly status: number;
  /** C_Finalize and the end of the process. */
  readonly close: number;
  /** A signature that takes longer is told of. */
  readonly notice: number;
}

/** The limits that hold unless others are given. */
export const defaultLimits: ProviderLimits = {
  load: 30_000,
  sign: 60_000,
  status: 2_000,
  close: 1_000,
  notice: 500,
};

/** A request that waits for its reply. */
interface Pending {
  readonly type: ChildRequest["type"];
  /** The token that it is for, if it is for one. */
  readonly token: number | undefined;
  readonly resolve: (reply: ChildReply) => void;
  readonly reject: (failure: Failure) => void;
  readonly timer: NodeJS.Timeout;
}

/** A request without its number, which `Child` gives it. */
export type Question = ChildRequest extends infer Request
  ? Request extends ChildRequest
    ? Omit<Request, "id">
    : never
  : never;

/** What happens when a library takes longer than its limit. */
export type WhenLate = "kill" | "leave";

const agentDescriptor = 3;

/** The processes that run. They end with the agent by themselves, but their groups would not. */
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
  #end: Failure | undefined;
  /** Why it was killed, when it was. */
  #verdict: Failure | undefined;

  /**
   * Starts a child process. It loads no library before it is asked to.
   * @param showModuleMessages whether the library's error output goes to the agent's
   */
  constructor(command: ChildCommand, showModuleMessages: boolean) {
    const stderr = showModuleMessages ? "inherit" : "ignore";
    this.#process = spawn(command.file, command.args, {
      // A Control-C at the agent's terminal is not for the card, and this group can be killed whole.
      detached: true,
      env: cleanNodeEnvironment(process.env),
      stdio: ["ignore", "ignore", stderr, "pipe"],
    });
    if (running.size === 0) process.once("exit", endRunning);
    running.add(this);
    this.ended = new Promise((resolve) => {
      this.#process.once("exit", (code, signal) => {
        this.kill(); // what the library has started does not outlive it
        this.#fail(this.#verdict ?? crashed(this.#path, code, signal));
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
    // Without descriptors there is none, and the child's error tells of it.
    this.#socket = this.#process.stdio?.[agentDescriptor] as Duplex | undefined;
    this.#listen();
  }

  /** The number of the process, for the log. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Names the library that it is for, in what is said of it. @param path the library's path */
  serve(path: string): void {
    this.#path = path;
  }

  /** Whether it can be asked. */
  get running(): boolean {
    return this.#end === undefined && this.#verdict === undefined;
  }

  /**
   * Asks the process.
   * @param limit milliseconds that it may take
   * @param late whether it is killed when it takes longer
   * @param token that it is for. A token may do one thing after another, so the time counts anew
   *   when something that was asked of it before is done.
   * @throws {Failure} the library's own, module-crashed, module-timeout
   */
  ask(question: Question, limit: number, late: WhenLate, token?: number): Promise<ChildReply> {
    const gone = this.#end ?? this.#verdict;
    if (gone !== undefined) return Promise.reject(gone);
    this.#lastId = (this.#lastId + 1) >>> 0;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#late(id, limit, late), limit);
      this.#pending.set(id, { type: question.type, token, resolve, reject, timer });
      this.#send({ ...question, id });
    });
  }

  /** Whether a signature or a login is under way: a person may be waited for. */
  get isSigning(): boolean {
    return [...this.#pending.values()].some(({ type }) => type === "sign" || type === "login");
  }

  /** Tells the process something that it does not answer. */
  tell(message: Question): void {
    if (this.running) this.#send({ ...message, id: 0 });
  }

  /**
   * Ends the process: asks for C_Finalize, and kills it when that takes longer than `limit`
   * milliseconds. Requests that still wait then fail with not-loaded.
   */
  async close(limit: number): Promise<void> {
    if (this.#end === undefined) {
      this.#verdict ??= unloaded(this.#path);
      this.#send({ type: "finish", id: 0 });
      const timer = setTimeout(() => this.kill(), limit);
      await this.ended;
      clearTimeout(timer);
    }
    this.#socket?.destroy();
  }

  /** Ends the process at once. Requests that still wait then fail with not-loaded. */
  async abort(): Promise<void> {
    if (this.#end !== undefined) return;
    this.#kill(unloaded(this.#path));
    await this.ended;
  }

  /** Kills the process and all of its group, which it leads: no process of others is in it. */
  kill(): void {
    const { pid } = this.#process;
    if (pid === undefined || this.#end !== undefined) return; // the number may be another's by now
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // nobody is left
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
        // As a rule it is a library that writes to descriptors which are not its own.
        const sentence = `The process of the library ${this.#path} sent an invalid message.`;
        this.#kill(new Failure("module-crashed", sentence));
      }
    });
    // A library that closes descriptors which are not its own takes its process with it.
    this.#socket?.on("close", () => this.kill());
    this.#socket?.on("error", () => this.kill());
  }

  #take(reply: ChildReply): void {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return; // it came late
    this.#pending.delete(reply.id);
    clearTimeout(pending.timer);
    if (pending.token !== undefined) this.#countAnew(reply.id, pending.token);
    if (reply.type === "failed") pending.reject(reply.failure);
    else pending.resolve(reply);
  }

  /** Something is done that those who asked later may have waited for. */
  #countAnew(id: number, token: number): void {
    for (const [later, waiting] of this.#pending) {
      if (later > id && waiting.token === token) waiting.timer.refresh();
    }
  }

  #late(id: number, limit: number, late: WhenLate): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    const sentence = `The library ${this.#path} did not answer within ${limit / 1000} seconds.`;
    const failure = new Failure("module-timeout", sentence);
    pending?.reject(failure);
    if (late === "kill") this.#kill(failure);
  }

  #kill(verdict: Failure): void {
    this.#verdict ??= verdict;
    this.kill();
  }

  #fail(failure: Failure): void {
    this.#end ??= failure;
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

/** A reply of one type. @throws {Failure} internal, when it is of another */
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
