/**
 * An upstream agent: an agent behind this one, `ssh-agent -O upstream=SOCKET`. This agent lists its
 * identities beside its own and passes on what concerns them.
 */
import { realpath } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { type ForeignAgent, foreignAgent } from "../../openssh/foreign-agents.ts";
import { errorCode, strerror } from "../../openssh/strerror.ts";
import type { UpstreamState } from "../../protocol/extensions/list-upstreams.ts";
import { asFailure, Failure } from "../../protocol/failure.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { Identity } from "../../protocol/replies.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import { descriptorOf } from "../host/descriptor.ts";
import type { PeerCredentials } from "../host/kernel.ts";

/** An option `-O upstream=SOCKET[,confirm]`. */
export interface UpstreamOption {
  /** The absolute path of its socket. */
  readonly path: string;
  /** Whether this agent asks the user to confirm each use of its keys. */
  readonly confirm: boolean;
}

/** An upstream agent did not do what it was asked for. */
export class UpstreamFailed extends Failure {
  /** Its state; "ready" if it has refused. */
  readonly state: UpstreamState;

  /** @param hint by default, that of the state */
  constructor(path: string, state: UpstreamState, what: string, hint: string = hints[state]) {
    super("upstream-failed", `The agent at ${path} ${what}.`, hint);
    this.state = state;
  }
}

/** What an upstream agent needs of the system. */
export interface UpstreamSystem {
  /** The process and user at the other end of a socket. @throws if the system does not tell */
  readonly peerOf: (descriptor: number) => PeerCredentials;
  readonly processName: (pid: number) => Promise<string>;
  readonly log: (line: string) => void;
}

/** Listens for the programs whose sockets it starts. */
const socketActivator = "systemd";

const hints: Readonly<Record<UpstreamState, string>> = {
  ready: "See what it holds with: ssh-add --list-providers",
  gone: "Start it again; this agent connects when its keys are needed.",
  slow: "See whether it waits for the user, or start it again.",
  invalid: "Check that this is the socket of an SSH agent.",
  refused: "Start ssh-agent with another socket in -O upstream.",
};

/** What requests have shown of an upstream agent. */
type Condition =
  | { readonly is: "answering" }
  /** The last request failed; the next one tries again. */
  | { readonly is: "failed"; readonly failure: UpstreamFailed }
  /** A list is unanswered: no other is asked for, since each would be waited for as long. */
  | { readonly is: "hanging"; readonly failure: UpstreamFailed; readonly end: () => void };

/** An upstream agent, for all clients. */
export class Upstream {
  readonly path: string;
  readonly confirm: boolean;
  readonly #system: UpstreamSystem;
  #condition: Condition = { is: "answering" };
  /** The process that listens; undefined before the first connection. */
  #pid: number | undefined;
  /** By blob ID, whether OpenSSH's clients can read an entry of the last list. */
  #readable = new Map<string, boolean>();

  constructor({ path, confirm }: UpstreamOption, system: UpstreamSystem) {
    this.path = path;
    this.confirm = confirm;
    this.#system = system;
  }

  /** The process that listened when it was last connected to. */
  get pid(): number | undefined {
    return this.#pid;
  }

  /** The agent's name, empty if unknown, and what is known about it as one of another project. */
  async identify(): Promise<{ name: string; known: ForeignAgent | undefined }> {
    const path = await realpath(this.path).catch(() => this.path);
    const listener = this.#pid === undefined ? "" : await this.#system.processName(this.#pid);
    const known = foreignAgent(path, listener);
    return { known, name: known?.name ?? (listener === socketActivator ? "" : listener) };
  }

  /** Connects. @throws {UpstreamFailed} if nobody listens, or another user */
  async connect(): Promise<Socket> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const opening = connect({ path: this.path });
      opening.once("error", (error) => reject(this.#notConnected(error)));
      opening.once("connect", () => resolve(opening));
    });
    try {
      const { pid, uid } = this.#system.peerOf(descriptorOf(socket));
      if (uid !== process.getuid?.() && uid !== 0) {
        throw this.failed("refused", `is not used: it belongs to user ${uid}`);
      }
      this.#pid = pid;
      return socket;
    } catch (error) {
      socket.destroy();
      if (error instanceof UpstreamFailed) throw error;
      throw this.failed("refused", "is not used: the system does not tell whose it is");
    }
  }

  #notConnected(error: Error): UpstreamFailed {
    // It listens, and has accepted none for so long that no more may wait.
    if (errorCode(error) === "EAGAIN") return this.failed("slow", "accepts no connections");
    const isAbsent = ["ENOENT", "ECONNREFUSED"].includes(errorCode(error) ?? "");
    const hint = "Check the rights of the socket, and this agent's limit of open files.";
    const why = strerror(error) ?? "unknown error";
    return this.failed("gone", `cannot be connected to: ${why}`, isAbsent ? undefined : hint);
  }

  /** @param hint by default, that of the state */
  failed(state: UpstreamState, what: string, hint?: string): UpstreamFailed {
    return new UpstreamFailed(this.path, state, what, hint);
  }

  /** Before a list. @throws {UpstreamFailed} while another one is unanswered */
  throwIfHanging(): void {
    if (this.#condition.is === "hanging") throw this.#condition.failure;
  }

  /** Notes the outcome of a request; changes are logged. */
  note(outcome: UpstreamFailed | "ready"): void {
    const isSlow = outcome !== "ready" && outcome.state === "slow";
    if (this.#condition.is !== "hanging" || !isSlow) this.#enter(conditionAfter(outcome));
  }

  /**
   * Notes that a list was not answered in time.
   * @param settled the outcome of waiting on
   * @param end ends the waiting, if it has not settled; called once
   */
  noteHanging(
    failure: UpstreamFailed,
    settled: Promise<UpstreamFailed | "ready">,
    end: () => void,
  ): void {
    const hanging: Condition = { is: "hanging", failure, end };
    this.#enter(hanging);
    void settled.then((outcome) => {
      if (this.#condition === hanging) this.#enter(conditionAfter(outcome));
    });
  }

  #enter(next: Condition): void {
    const last = this.#condition;
    this.#condition = next;
    if (last.is === "hanging") last.end();
    if (stateOf(next) === stateOf(last)) return;
    this.#system.log(
      next.is === "answering" ? `the agent at ${this.path} is back` : next.failure.message,
    );
  }

  /**
   * The entries of a list that OpenSSH's clients can read: they would fail on the whole list for one
   * that they cannot. They skip unknown key types.
   * @returns them by blob ID, in order
   */
  readable(identities: readonly Identity[]): Map<string, Identity> {
    const known = new Map<string, boolean>();
    const readable = new Map<string, Identity>();
    for (const { keyBlob, comment } of identities) {
      const id = blobId(keyBlob);
      const isReadable = this.#readable.get(id) ?? this.#check(keyBlob);
      known.set(id, isReadable);
      if (!isReadable || readable.has(id)) continue;
      readable.set(id, { keyBlob, comment: comment.replaceAll("\0", "") });
    }
    this.#readable = known;
    return readable;
  }

  #check(blob: Buffer): boolean {
    try {
      verifyKeyOrCertificate(blob);
      return true;
    } catch (error) {
      const { code, message } = asFailure(error);
      if (code === "unsupported") return true;
      this.#system.log(`left out an identity of the agent at ${this.path}: ${message}`);
      return false;
    }
  }
}

/** One that refuses is answering. */
function conditionAfter(outcome: UpstreamFailed | "ready"): Condition {
  if (outcome === "ready" || outcome.state === "ready") return { is: "answering" };
  return { is: "failed", failure: outcome };
}

function stateOf(condition: Condition): UpstreamState {
  return condition.is === "answering" ? "ready" : condition.failure.state;
}
