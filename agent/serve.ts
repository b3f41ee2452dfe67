/** The agent itself: made of its parts, serving a socket until a signal or its parent's end. */
import { dirname, join } from "node:path";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { Agent } from "./agent.ts";
import { skHelper } from "./fido/helper.ts";
import { systemClock, systemWallClock } from "./host/clock.ts";
import { garbageCollector } from "./host/garbage.ts";
import { type Libc, loadLibc } from "./host/libc.ts";
import { programPath } from "./host/program.ts";
import { hostPrefix, removeSocket, type SocketPlace } from "./host/socket-path.ts";
import { removeStaleSockets } from "./host/stale-sockets.ts";
import { OpenKeys } from "./keys/open-keys.ts";
import { Shield } from "./keys/shield.ts";
import { type AgentOptions, cleansAtStart } from "./options.ts";
import type { ProviderLimits } from "./pkcs11/provider.ts";
import { ProviderRegistry } from "./pkcs11/registry.ts";
import { defaultSpareTimes } from "./pkcs11/spare-helper.ts";
import { parseAllowedProviders } from "./policy/allowed-providers.ts";
import { askpass } from "./policy/confirm.ts";
import { personOf } from "./policy/notice.ts";
import { AgentServer } from "./server.ts";
import { report } from "./start-report.ts";

/** As OpenSSH's agent ends by a signal. */
const endedBySignal = 2;

/** Milliseconds that a signature of a FIDO authenticator may take: somebody has to touch it. */
const touchLimit = 120_000;

/** Milliseconds between looks at whether the parent is there. */
const parentInterval = 1000;

/** Serves in the background, and tells the program that started it. */
export async function serveInBackground(
  options: AgentOptions,
  places: readonly (() => SocketPlace)[],
): Promise<void> {
  const { server, serveAt } = prepare(options);
  const trying = (place: SocketPlace) => report({ type: "trying", place });
  const place = await server.listenAtFirst(places, trying);
  const stop = serveAt(place);
  process.chdir("/");
  const parent = options.serving?.parent ?? 0;
  if (parent !== 0) endWithParent(parent, stop);
  try {
    report({ type: "serving" });
  } catch {
    stop(); // the starting program has gone, and nobody knows of this agent
  }
  cleanUp(options, place);
}

/** Serves in the foreground. @param listening tells whoever waits for it */
export async function serveInForeground(
  options: AgentOptions,
  places: readonly (() => SocketPlace)[],
  listening: (place: SocketPlace) => void,
): Promise<void> {
  const { server, serveAt } = prepare(options);
  const place = await server.listenAtFirst(places, () => {});
  try {
    listening(place);
  } catch (error) {
    removeSocket(place);
    throw error;
  }
  serveAt(place);
  cleanUp(options, place);
}

/** Serves a socket that a service manager has opened, in the foreground; the socket stays its. */
export async function serveActivated(options: AgentOptions, descriptor: number): Promise<void> {
  const { server, serveAt } = prepare(options);
  await server.listenAt(descriptor);
  serveAt(undefined);
}

interface Prepared {
  readonly server: AgentServer;
  /**
   * Serves from now on, until a signal; a fault is no reason to end any more.
   * @param place of a socket that goes with the agent
   * @returns what ends the agent
   */
  readonly serveAt: (place: SocketPlace | undefined) => () => void;
}

/** Makes all that the agent needs, before anybody can connect. */
function prepare(options: AgentOptions): Prepared {
  const log = logOf(options);
  // First of all: until there is a listener, SIGUSR1 makes Node.js open its debugger.
  process.on("SIGUSR1", () => void agent.removeEverything());
  const libc = loadLibc();
  const agent = makeAgent(options, log, libc);
  process.title = "ssh-agent";
  libc.protectMemory();
  libc.returnLargeBlocks();
  const server = new AgentServer(agent, libc, process.getuid?.() ?? 0);
  const serveAt = (place: SocketPlace | undefined) => {
    const stop = () => {
      if (place !== undefined) removeSocket(place);
      process.exit(endedBySignal);
    };
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
    // Ctrl-C is for an agent in the foreground alone.
    process.on("SIGINT", options.mode === "serve" ? () => {} : stop);
    // One request's fault must not cost all the others' keys.
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", ({ name, message }) => logFault(`fault: ${name}: ${message}`));
    return stop;
  };
  return { server, serveAt };
}

function makeAgent(options: AgentOptions, log: (line: string) => void, libc: Libc): Agent {
  const isDebugging = options.mode === "debug";
  const collect = garbageCollector();
  return new Agent({
    settings: {
      defaultLifetime: options.lifetime,
      certificateGrace: options.certificateGrace,
      allowRemotePkcs11: options.allowRemotePkcs11,
      websafeAllow: options.websafeAllow,
      fingerprintHash: options.fingerprintHash,
    },
    providers: new ProviderRegistry({
      allowed: parseAllowedProviders(options.allowedProviders),
      helper: { file: process.execPath, args: [helperPath()] },
      limits: limitsOf(options),
      keepPin: options.keepPin,
      log,
      showModuleMessages: isDebugging,
      spareTimes: defaultSpareTimes,
    }),
    authenticators: {
      askHelper: skHelper({
        environment: process.env,
        limit: touchLimit,
        showMessages: isDebugging,
      }),
      fingerprintHash: options.fingerprintHash,
      log,
    },
    person: personOf(process.env),
    ask: askpass(process.env),
    clock: systemClock,
    wallClock: systemWallClock,
    memoryCalls: {
      resident: process.memoryUsage.rss,
      collect,
      release: () => libc.releaseMemory(),
    },
    softwareKeys: {
      freedMemory: libc.freedMemory,
      shield: new Shield(),
      openKeys: new OpenKeys(systemClock, collect),
    },
    log,
  });
}

/** What `-O card-timeout` sets; seconds become milliseconds. */
function limitsOf({ cardTimeout }: AgentOptions): Partial<ProviderLimits> {
  if (cardTimeout === undefined) return {};
  return { sign: cardTimeout.sign * 1000, load: cardTimeout.load * 1000 };
}

/** The helper's program, beside this one in the package. */
function helperPath(): string {
  return join(dirname(programPath()), "..", "lib", "pkcs11-helper.js");
}

/** Removes what killed agents left beside a socket; nobody waits for it. */
function cleanUp(options: AgentOptions, place: SocketPlace): void {
  if (!cleansAtStart(options) || place.ownFolder !== undefined) return;
  const log = logOf(options);
  removeStaleSockets(dirname(place.path), hostPrefix()).then(
    (paths) => {
      for (const path of paths) log(`removed the stale socket ${path}`);
    },
    (error: unknown) => {
      log(`stale sockets stay: ${error instanceof Error ? error.message : "unknown error"}`);
    },
  );
}

function logOf(options: AgentOptions): (line: string) => void {
  return options.mode === "debug" ? logToStderr : () => {};
}

function logToStderr(line: string): void {
  process.stderr.write(`debug1: ${sanitizeForDisplay(line)}\n`);
}

/** Faults are told in the foreground always, where a service manager keeps them. */
function logFault(line: string): void {
  process.stderr.write(`${sanitizeForDisplay(line)}\n`);
}

function endWithParent(parent: number, stop: () => void): void {
  setInterval(() => {
    if (process.ppid !== parent) stop();
  }, parentInterval);
}
