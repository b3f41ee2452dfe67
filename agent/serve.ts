/** Creates the agent and serves its socket until a signal, or until its parent exits. */
import { dirname } from "node:path";
import { isatty } from "node:tty";
import { garbageCollector } from "../openssh/garbage-collector.ts";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { Agent } from "./agent.ts";
import { followCertificates } from "./certificates/serve-folder.ts";
import { skHelper } from "./fido/helper.ts";
import { systemClock, systemWallClock } from "./host/clock.ts";
import { type Libc, loadLibc } from "./host/libc.ts";
import { ownCommand, pkcs11ChildCommand } from "./host/program.ts";
import { hostPrefix, removeSocket, type SocketPaths } from "./host/socket-path.ts";
import { removeStaleSockets } from "./host/stale-sockets.ts";
import { systemdUnit } from "./host/systemd.ts";
import { OpenKeys } from "./keys/open-keys.ts";
import { Shield } from "./keys/shield.ts";
import { type AgentOptions, cleansAtStart } from "./options.ts";
import { defaultLimits, type ProviderLimits } from "./pkcs11/child-process.ts";
import { ProviderRegistry } from "./pkcs11/registry.ts";
import { defaultSpareTimes } from "./pkcs11/spare-child.ts";
import type { IdleRelease } from "./pkcs11/supervisor.ts";
import { parseAllowedProviders, type ServiceCommand } from "./policy/allowed-providers.ts";
import { makePrompter, processName } from "./policy/prompter.ts";
import { renew } from "./renewal/renew.ts";
import { AgentServer } from "./server.ts";
import { report } from "./start-report.ts";
import { Upstreams } from "./upstream/upstreams.ts";

/** The exit status after a signal, as in OpenSSH; `stoppedByManager` for a service manager's SIGTERM. */
const endedBySignal = 2;
const stoppedByManager = 0;

/** The timeout of a FIDO authenticator's signature, in milliseconds: the user has to touch it. */
const touchTimeout = 120_000;

/** Milliseconds that an upstream agent has for a list, and for anything else but a signature. */
const listWait = 500;
const otherWait = 5000;

/** Milliseconds after which the agent has started, and what only its start needed is released. */
const startTime = 250;

/** Milliseconds between checks whether the parent is still there. */
const parentCheckInterval = 1000;

/** Serves in the background, and reports to the program that started it. */
export async function serveInBackground(
  options: AgentOptions,
  candidates: readonly (() => SocketPaths)[],
): Promise<void> {
  const { server, serveAt } = prepare(options);
  const paths = await server.listenAtFirst(candidates, (tried) => {
    report({ type: "trying", paths: tried });
  });
  const stop = serveAt(paths);
  process.chdir("/");
  const parent = options.serving?.parent ?? 0;
  if (parent !== 0) endWithParent(parent, stop);
  try {
    report({ type: "serving" });
  } catch {
    stop(); // the starting program has gone: the user cannot know of this agent
  }
  cleanUp(options, paths);
}

/** Serves in the foreground. @param onListening called once the agent listens */
export async function serveInForeground(
  options: AgentOptions,
  candidates: readonly (() => SocketPaths)[],
  onListening: (paths: SocketPaths) => void,
): Promise<void> {
  const { server, serveAt } = prepare(options);
  const paths = await server.listenAtFirst(candidates, () => {});
  try {
    onListening(paths);
  } catch (error) {
    removeSocket(paths);
    throw error;
  }
  serveAt(paths);
  cleanUp(options, paths);
}

/** Serves a service manager's socket in the foreground, and leaves the socket when it ends. */
export async function serveActivated(options: AgentOptions, descriptor: number): Promise<void> {
  const { server, serveAt } = prepare(options);
  await server.listenAt(descriptor);
  serveAt(undefined);
}

interface Prepared {
  readonly server: AgentServer;
  /**
   * Installs the handlers of a serving agent: signals end it, uncaught exceptions do not.
   * @param paths of the socket to remove at the end; undefined for a service manager's
   * @returns a function that ends the agent
   */
  readonly serveAt: (paths: SocketPaths | undefined) => () => void;
}

/** Creates the agent and its server, which does not listen yet. */
function prepare(options: AgentOptions): Prepared {
  const log = logOf(options);
  // Before all else: without a listener, SIGUSR1 makes Node.js open its debugger.
  process.on("SIGUSR1", () => void agent.removeEverything());
  const libc = loadLibc();
  const agent = makeAgent(options, log, libc);
  process.title = "ssh-agent";
  libc.protectMemory();
  libc.returnLargeBlocks();
  const server = new AgentServer(agent, libc, process.getuid?.() ?? 0);
  const serveAt = (paths: SocketPaths | undefined) => {
    const stop = (signal?: NodeJS.Signals) => {
      if (paths !== undefined) removeSocket(paths);
      const isStopped = paths === undefined && signal === "SIGTERM";
      process.exit(isStopped ? stoppedByManager : endedBySignal);
    };
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
    // Ctrl-C ends only an agent in the foreground.
    process.on("SIGINT", options.mode === "serve" ? () => {} : stop);
    if (options.certificates !== undefined) {
      void followCertificates(agent, options.certificates).read();
    }
    // A bug in one request must not cost all keys.
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", ({ name, message }) => logFault(`fault: ${name}: ${message}`));
    systemClock.after(startTime, () => libc.releaseMemory());
    return stop;
  };
  return { server, serveAt };
}

function makeAgent(options: AgentOptions, log: (line: string) => void, libc: Libc): Agent {
  const { renewal } = options;
  const isDebugging = options.mode === "debug";
  const collect = garbageCollector();
  const agent: Agent = new Agent({
    settings: {
      defaultLifetime: options.lifetime,
      certificateGrace: options.certificateGrace,
      allowRemotePkcs11: options.allowRemotePkcs11,
      websafeAllow: options.websafeAllow,
      fingerprintHash: options.fingerprintHash,
    },
    providers: new ProviderRegistry({
      allowed: parseAllowedProviders(options.allowedProviders, serviceCommand(options)),
      child: pkcs11ChildCommand(),
      limits: limitsOf(options),
      keepPin: options.keepPin,
      idle: idleOf(options),
      log,
      showModuleMessages: isDebugging,
      spareTimes: defaultSpareTimes,
    }),
    upstreams: new Upstreams({
      options: options.upstreams,
      limits: {
        list: listWait,
        details: listWait,
        sign: signLimit(options),
        other: otherWait,
      },
      clock: systemClock,
      peerOf: (descriptor) => libc.peerCredentials(descriptor),
      processName,
      log,
    }),
    authenticators: {
      askHelper: skHelper({
        environment: process.env,
        limit: touchTimeout,
        showMessages: isDebugging,
      }),
      fingerprintHash: options.fingerprintHash,
      log,
    },
    prompter: makePrompter(process.env, showOnTerminal),
    clock: systemClock,
    wallClock: systemWallClock,
    memoryCalls: {
      resident: () => libc.residentData(),
      collect,
      release: () => libc.releaseMemory(),
    },
    softwareKeys: {
      freedMemory: libc.freedMemory,
      shield: new Shield(),
      openKeys: new OpenKeys(systemClock, collect),
    },
    renewal: renewal && {
      all: renewal.all,
      renew: (key, signal) => renew(agent, renewal.program, key, signal),
    },
    log,
  });
  return agent;
}

/** The command line of the systemd service that this agent is, for hints. */
function serviceCommand({ otherWords }: AgentOptions): ServiceCommand | undefined {
  const unit = systemdUnit(process.env, process.pid);
  if (unit === undefined) return undefined;
  const { file, args } = ownCommand(otherWords);
  return { unit, words: [file, ...args] };
}

/** Milliseconds that an upstream agent has for a signature: as long as a card. */
function signLimit({ cardTimeout }: AgentOptions): number {
  return cardTimeout === undefined ? defaultLimits.sign : cardTimeout.sign * 1000;
}

/** `-O card-timeout`, in milliseconds. */
function limitsOf({ cardTimeout }: AgentOptions): Partial<ProviderLimits> {
  if (cardTimeout === undefined) return {};
  return { sign: cardTimeout.sign * 1000, load: cardTimeout.load * 1000 };
}

/** `-O idle-release`. */
function idleOf({ idleRelease }: AgentOptions): IdleRelease | undefined {
  return idleRelease === undefined ? undefined : { clock: systemClock, after: idleRelease * 1000 };
}

/** Removes stale sockets from the folder of the agent's socket, in the background. */
function cleanUp(options: AgentOptions, paths: SocketPaths): void {
  if (!cleansAtStart(options) || paths.ownFolder !== undefined) return;
  const log = logOf(options);
  removeStaleSockets(dirname(paths.path), hostPrefix()).then(
    (removed) => {
      for (const path of removed) log(`removed the stale socket ${path}`);
    },
    (error: unknown) => {
      log(
        `cannot remove stale sockets: ${error instanceof Error ? error.message : "unknown error"}`,
      );
    },
  );
}

function logOf(options: AgentOptions): (line: string) => void {
  return options.mode === "debug" ? logToStderr : () => {};
}

function logToStderr(line: string): void {
  process.stderr.write(`debug1: ${sanitizeForDisplay(line)}\n`);
}

/** Shows a notice on the terminal, if there is one: only in the foreground. */
function showOnTerminal(text: string): void {
  if (!isatty(2)) return;
  const lines = text.split("\n").map((line) => `\r${sanitizeForDisplay(line)}\r\n`);
  process.stderr.write(lines.join(""));
}

/** Logs an uncaught exception, without -d too: service managers keep standard error. */
function logFault(line: string): void {
  process.stderr.write(`${sanitizeForDisplay(line)}\n`);
}

function endWithParent(parent: number, stop: () => void): void {
  setInterval(() => {
    if (process.ppid !== parent) stop();
  }, parentCheckInterval);
}
