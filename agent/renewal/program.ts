/** Runs the program of `ssh-agent -O renew`. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { openPipe } from "../../openssh/secret-input.ts";
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { decodeText } from "../../protocol/text.ts";
import type { Clock } from "../host/clock.ts";
import { endGroupWith } from "../host/program-group.ts";

/** Milliseconds that a run may take. */
const runLimit = 60_000;

/** The most bytes that are taken from standard output, and from standard error. */
const maxOutput = 64 * 1024;

/** Milliseconds after its exit for the rest of the output: others may hold the pipes open. */
const outputWait = 1000;

/** The variable with the path of the old certificate. */
const certificateVariable = "CARDAGENT_CERTIFICATE";

/** A run of the program. */
export interface ProgramRun {
  /** An absolute path. */
  readonly program: string;
  readonly environment: NodeJS.ProcessEnv;
  /** The public key's line, for standard input. */
  readonly keyLine: string;
  /** The old certificate's line; undefined if there is none. */
  readonly certificateLine: string | undefined;
  readonly clock: Clock;
  /** Takes the lines of standard error. */
  readonly log: (line: string) => void;
  /** Ends the program. */
  readonly signal: AbortSignal;
}

/**
 * Runs the program, without a shell and without arguments.
 * @returns its standard output
 * @throws an error whose message is a sentence for the user
 */
export async function runProgram(run: ProgramRun): Promise<string> {
  const { [certificateVariable]: _, SSH_ASKPASS_PROMPT: __, ...env } = run.environment;
  if (run.certificateLine === undefined) return spawnProgram(run, env);
  const folder = await makeFolder();
  try {
    const path = join(folder, "old-cert.pub");
    await writeFile(path, `${run.certificateLine}\n`, { mode: 0o600 });
    return await spawnProgram(run, { ...env, [certificateVariable]: path });
  } finally {
    await removeFolder(folder);
  }
}

/** The folders of running programs, which are removed when the agent ends. */
const folders = new Set<string>();

function removeAll(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cardagent-renew-"));
  if (folders.size === 0) process.once("exit", removeAll);
  folders.add(folder);
  return folder;
}

async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  folders.delete(folder);
  if (folders.size === 0) process.off("exit", removeAll);
}

async function spawnProgram(run: ProgramRun, env: NodeJS.ProcessEnv): Promise<string> {
  const limit = new AbortController();
  const cancelLimit = run.clock.after(runLimit, () => limit.abort());
  const output = new Output();
  const signal = AbortSignal.any([run.signal, limit.signal, output.tooLong]);
  const errors = new LineLog(run.log);
  try {
    const { child, stdout, stderr } = start(run, env);
    stdout?.on("data", (chunk: Buffer) => output.add(chunk));
    stderr?.on("data", (chunk: Buffer) => errors.add(chunk));
    const { status, name } = await ended(child, [stdout, stderr], signal);
    errors.end();
    const last = errors.last === "" ? "." : `: ${errors.last}`;
    if (limit.signal.aborted) throw new Error(`The program took longer than a minute${last}`);
    if (output.tooLong.aborted) throw new Error("The program wrote more than 64 KiB.");
    if (status === 0) return output.text();
    const how = status === null ? `was ended by ${name}` : `exited with status ${status}`;
    throw new Error(`The program ${how}${last}`);
  } finally {
    cancelLimit();
  }
}

interface Started {
  readonly child: ChildProcess;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
}

/**
 * Starts the program with the key's line on standard input. Its streams are pipes; without koffi they are
 * sockets, as Node.js makes them, which a program cannot open as /dev/stdin and the like.
 */
function start({ program, keyLine }: ProgramRun, env: NodeJS.ProcessEnv): Started {
  const [input, output, errors] = [openPipe(), openPipe(), openPipe()];
  const stdio = [input?.[0] ?? "pipe", output?.[1] ?? "pipe", errors?.[1] ?? "pipe"] as const;
  const readers = [output, errors].map(
    (pipe) => pipe && new Socket({ fd: pipe[0], writable: false }),
  );
  const line = `${keyLine}\n`;
  try {
    if (input !== undefined) writeSync(input[1], line); // less than a pipe holds
    const child = spawn(program, [], { detached: true, env, stdio: [...stdio] });
    child.stdin?.on("error", () => {}); // it need not read the key
    child.stdin?.end(line);
    return { child, stdout: readers[0] ?? child.stdout, stderr: readers[1] ?? child.stderr };
  } catch (error) {
    for (const reader of readers) reader?.destroy();
    throw error;
  } finally {
    for (const end of [input?.[0], input?.[1], output?.[1], errors?.[1]]) {
      if (end !== undefined) closeSync(end);
    }
  }
}

interface End {
  readonly status: number | null;
  readonly name: NodeJS.Signals | null;
}

/** Waits until a program has exited and its output is read. @throws if it cannot be run */
function ended(
  child: ChildProcess,
  streams: readonly (Readable | null)[],
  signal: AbortSignal,
): Promise<End> {
  const exited = endGroupWith(child, signal);
  const closed = Promise.all(
    streams.map((stream) => new Promise<void>((resolve) => stream?.once("close", resolve))),
  );
  return new Promise((resolve, reject) => {
    const settle = (settled: () => void) => {
      exited();
      for (const stream of streams) stream?.destroy();
      settled();
    };
    child.once("error", (error: NodeJS.ErrnoException) => {
      const what = `The program cannot be run: ${error.code ?? error.message}.`;
      settle(() => reject(new Error(what)));
    });
    child.once("exit", (status, name) => {
      exited();
      if (signal.aborted) killRest(child);
      const timer = setTimeout(() => settle(() => resolve({ status, name })), outputWait);
      void closed.then(() => {
        clearTimeout(timer);
        settle(() => resolve({ status, name }));
      });
    });
  });
}

/** Kills what is left of the group of a program that was ended. */
function killRest({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // nothing is left
  }
}

/** Collects standard output. */
class Output {
  readonly #chunks: Buffer[] = [];
  #length = 0;
  readonly #tooLong = new AbortController();

  get tooLong(): AbortSignal {
    return this.#tooLong.signal;
  }

  add(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > maxOutput) this.#tooLong.abort();
    else this.#chunks.push(chunk);
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString("latin1");
  }
}

/** Logs standard error line by line, safe to show. */
class LineLog {
  readonly #log: (line: string) => void;
  #rest = Buffer.alloc(0);
  #length = 0;
  /** The last line that is not empty. */
  last = "";

  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  add(chunk: Buffer): void {
    const kept = chunk.subarray(0, Math.max(0, maxOutput - this.#length));
    this.#length += kept.length;
    this.#rest = Buffer.concat([this.#rest, kept]);
    for (let end = this.#rest.indexOf("\n"); end >= 0; end = this.#rest.indexOf("\n")) {
      this.#write(this.#rest.subarray(0, end));
      this.#rest = this.#rest.subarray(end + 1);
    }
  }

  end(): void {
    this.#write(this.#rest);
    this.#rest = Buffer.alloc(0);
  }

  #write(bytes: Buffer): void {
    const line = sanitizeName(decodeText(bytes).replace(/\r$/, ""));
    if (line.trim() === "") return;
    this.last = line;
    this.#log(line);
  }
}
