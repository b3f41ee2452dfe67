/** The throughput and latency of signatures. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { build } from "esbuild";
import { projectRoot } from "../fixtures/programs.ts";
import { signatureFlags } from "../protocol/numbers.ts";
import { decodePublicKey, type PublicKey } from "../protocol/public-key.ts";
import { decodeReply } from "../protocol/replies.ts";
import { frameRequest } from "../protocol/requests.ts";
import { verifySignature } from "../protocol/verification.ts";
import { forEachSide, type Pair, type RunningAgent, type Side, sides } from "./agents.ts";
import type { LoadJob, LoadResult } from "./load.ts";
import type { BenchOptions } from "./options.ts";
import { median, percentile } from "./statistics.ts";
import type { Workspace } from "./workspace.ts";

/** The figures of one agent with one key. */
interface SigningFigures {
  readonly signaturesPerSecond: number;
  /** Latencies, in milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** One line of the table. */
export interface SigningResult {
  readonly name: string;
  readonly connections: number;
  readonly figures: Pair<SigningFigures>;
}

/** As long as the data that ssh has signed for a login. */
const data = Buffer.alloc(200, "data to be signed ");

/** Runs the load generator. @throws {Error} if a reply is not a signature */
type LoadProgram = (job: LoadJob) => Promise<LoadResult>;

/**
 * Bundles a program of this folder: running it through a loader would take processor time from the
 * agents.
 * @returns its path
 */
export async function bundleProgram(workspace: Workspace, name: string): Promise<string> {
  const path = join(workspace.folder, `${name}.cjs`);
  await build({
    entryPoints: [join(projectRoot, "bench", `${name}.ts`)],
    outfile: path,
    bundle: true,
    platform: "node",
    format: "cjs",
    logLevel: "warning",
  });
  return path;
}

export async function makeLoadProgram(workspace: Workspace): Promise<LoadProgram> {
  const path = await bundleProgram(workspace, "load");
  return async (job) => {
    const child = spawn(process.execPath, [path], {
      env: workspace.env,
      stdio: ["pipe", "pipe", "inherit"],
    });
    const ended = once(child, "close");
    child.stdin.end(JSON.stringify(job));
    const output = await text(child.stdout);
    const [status] = await ended;
    if (status !== 0) throw new Error(`The load ended with ${status}.`);
    return JSON.parse(output) as LoadResult;
  };
}

/**
 * Measures one key in both agents, with 1 and with 8 connections. The agents take turns in each round,
 * and the first one alternates; each figure is the median of the rounds.
 */
export async function measureSigning(
  name: string,
  agents: Pair<RunningAgent>,
  keyBlob: Buffer,
  load: LoadProgram,
  options: BenchOptions,
): Promise<SigningResult[]> {
  const key = decodePublicKey(keyBlob);
  if (key === undefined) throw new Error("The key is of a type that is not known.");
  const request = makeRequest(key, keyBlob).toString("base64");
  const milliseconds = options.seconds * 1000;
  const results: SigningResult[] = [];
  for (const connections of [1, 8]) {
    const rounds: Record<Side, SigningFigures[]> = { cardagent: [], system: [] };
    for (let round = 0; round < options.rounds; round++) {
      for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
        const { socket } = agents[side];
        const result = await load({ socket, request, connections, milliseconds });
        verifyReply(side, key, result);
        rounds[side].push(figuresOf(result));
      }
    }
    const figures = await forEachSide(async (side) => medians(rounds[side]));
    results.push({ name, connections, figures });
  }
  return results;
}

function makeRequest(key: PublicKey, keyBlob: Buffer): Buffer {
  const flags = key.type === "rsa" ? signatureFlags.rsaSha512 : 0;
  return frameRequest({ type: "sign", keyBlob, data, flags });
}

function verifyReply(side: Side, key: PublicKey, result: LoadResult): void {
  const reply = decodeReply(Buffer.from(result.reply, "base64").subarray(4));
  if (reply.type === "signature" && verifySignature(key, reply.signature, data)) return;
  throw new Error(`The ${side} agent's signature is wrong.`);
}

function figuresOf({ latencies, elapsed }: LoadResult): SigningFigures {
  const sorted = Float64Array.from(latencies).sort();
  return {
    signaturesPerSecond: (latencies.length * 1000) / elapsed,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
  };
}

function medians(rounds: readonly SigningFigures[]): SigningFigures {
  return {
    signaturesPerSecond: median(rounds.map((round) => round.signaturesPerSecond)),
    p50: median(rounds.map((round) => round.p50)),
    p99: median(rounds.map((round) => round.p99)),
  };
}
