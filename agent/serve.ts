/** The agent itself: made of its parts, serving a socket until a signal or its parent's end. */
import type { Server } from "node:net";
import { dirname, join } from "node:path";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { Agent } from "./agent.ts";
import { skHelper } from "./fido/helper.ts";
import { systemClock, systemWallClock } from "./host/clock.ts";
import { garbageCollector, type MemoryCalls } from "./host/garbage.ts";
import { loadLibc } from "./host/libc.ts";
import { programPath } from "./host/program.ts";
import { hostPrefix, listenAt, removeSocket, type SocketPlace } from "./host/socket-path.ts";
import { removeStaleSockets } from "./host/stale-sockets.ts";
import { type AgentOptions, cleansAtStart } from "./options.ts";
import type { ProviderLimits } from "./pkcs11/provider.ts";
import { ProviderRegistry } from "./pkcs11/registry.ts";
import { defaultSpareTimes } from "./pkcs11/spare-helper.ts";
import { parseAllowedProviders } from "./policy/allowed-providers.ts";
import { askpass } from "./policy/confirm.ts";
import { personOf } from "./policy/notice.ts";
import { createAgentServer } from "./server.ts";

/** As OpenSSH's agent ends by a signal. */
const endedBySignal = 2;

/** Milliseconds that a signature of a FIDO authenticator may take: somebody has to touch it. */
const touchLimit = 120_000;

/** Milliseconds between looks at whether the parent is there. */
const parentInterval = 1000;

/** Serves a socket that the starting program has bound, in the background. */
export function serveInBackground(options: AgentOptions, place: SocketPlace): void {
  const serving = options.serving;
  if (serving === undefined) return;
  const { server, stop } = prepare(options, place);
  process.chdir("/");
  server.listen({ fd: serving.descriptor }, () => cleanUp(options, place));
  if (serving.parent !== 0) endWithParent(serving.parent, stop);
}

/** Serves in the foreground. */
export function serveInForeground(
  options: AgentOptions,
  place: SocketPlace,
  listening: () => void,
  failed: (sentence: string) => void,
): void {
  const { server } = prepare(options, place);
  const ready = () => {
    listening();
    cleanUp(options, place);
  };
  listenAt(server, place, ready, failed);
}

/** Serves a socket that a service manager has opened, in the foreground; the socket stays its. */
export function serveActivated(
  options: AgentOptions,
  descriptor: number,
  failed: (sentence: string) => void,
): void {
  const { server } = prepare(options, undefined);
  server.on("error", (error) => failed(`cannot listen: ${error.message}`));
  server.listen({ fd: descriptor });
}

/** @param place of a socket that goes with the agent */
function prepare(
  options: AgentOptions,
  place: SocketPlace | undefined,
): { readonly server: Server; readonly stop: () => void } {
  const stop = () => {
    if (place !== undefined) removeSocket(place);
    process.exit(endedBySignal);
  };
  const log = logOf(options);
  const memoryCalls = { collect: garbageCollector(), release: () => libc.releaseMemory() };
  const agent = makeAgent(options, log, memoryCalls);
  // First of all: until there is a listener, SIGUSR1 makes Node.js open its debugger.
  process.on("SIGUSR1", () => void agent.removeEverything());
  for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
  // Ctrl-C is for an agent in the foreground alone.
  process.on("SIGINT", options.mode === "serve" ? () => {} : stop);
  // One request's fault must not cost all the others' keys.
  process.on("uncaughtException", (error) => log(`fault: ${error.name}: ${error.message}`));
  process.title = "ssh-agent";
  const libc = loadLibc();
  libc.protectMemory();
  return { server: createAgentServer(agent, libc, process.getuid?.() ?? 0), stop };
}

function makeAgent(
  options: AgentOptions,
  log: (line: string) => void,
  memoryCalls: MemoryCalls,
): Agent {
  const isDebugging = options.mode === "debug";
  const person = personOf(process.env);
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
      // No options: see plain-node.ts.
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
      ...person,
      fingerprintHash: options.fingerprintHash,
    },
    person,
    ask: askpass(process.env),
    clock: systemClock,
    wallClock: systemWallClock,
    memoryCalls,
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
  if (!cleansAtStart(options)) return;
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

function endWithParent(parent: number, stop: () => void): void {
  setInterval(() => {
    if (process.ppid !== parent) stop();
  }, parentInterval);
}
