/** The report of the benchmark: tables for people, JSON for programs. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../fixtures/programs.ts";
import type { Pair } from "./agents.ts";
import type { MemoryResult } from "./memory.ts";
import type { ProcessResult } from "./processes.ts";
import type { SigningResult } from "./signing.ts";

export interface Results {
  readonly signing: SigningResult[];
  readonly processes: ProcessResult[];
  readonly memory: MemoryResult[];
}

type Row = readonly string[];

/** The tables of all results. */
export function describeResults({ signing, processes, memory }: Results): string {
  return [
    table(
      [
        "signatures per second",
        "cardagent",
        "system",
        "ratio",
        "p50 ms",
        "system",
        "p99 ms",
        "system",
      ],
      signing.map(signingRow),
    ),
    table(
      ["whole program, ms", "cardagent", "system", "ratio", "node -e 0", "ratio"],
      processes.map(processRow),
    ),
    table(
      ["with a budget, ms", "cardagent", "system + node", "ratio"],
      processes.flatMap(budgetRows),
    ),
    table(
      ["resident memory, MB", "cardagent", "system", "ratio", "idle node", "ratio"],
      memory.map(memoryRow),
    ),
  ]
    .filter((lines) => lines !== "")
    .join("\n");
}

function signingRow({ name, connections, figures }: SigningResult): Row {
  const { cardagent, system } = figures;
  return [
    `${name}, ${connections} connection${connections === 1 ? "" : "s"}`,
    cardagent.signaturesPerSecond.toFixed(0),
    system.signaturesPerSecond.toFixed(0),
    ratio(cardagent.signaturesPerSecond, system.signaturesPerSecond),
    cardagent.p50.toFixed(2),
    system.p50.toFixed(2),
    cardagent.p99.toFixed(2),
    system.p99.toFixed(2),
  ];
}

function processRow({ name, figures, bareNode }: ProcessResult): Row {
  const { cardagent, system } = figures;
  const times = [cardagent.toFixed(1), system.toFixed(1), ratio(cardagent, system)];
  return [name, ...times, bareNode.toFixed(1), ratio(cardagent, bareNode)];
}

function budgetRows({ name, figures: { cardagent }, budget }: ProcessResult): Row[] {
  if (budget === undefined) return [];
  return [[name, cardagent.toFixed(1), budget.toFixed(1), ratio(cardagent, budget)]];
}

function memoryRow({ name, figures: { cardagent, system }, bareNode }: MemoryResult): Row {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  const beside = [megabytes(cardagent), megabytes(system), ratio(cardagent, system)];
  return [name, ...beside, megabytes(bareNode), ratio(cardagent, bareNode)];
}

function ratio(dividend: number, divisor: number): string {
  return (dividend / divisor).toFixed(2);
}

/** A table with aligned columns; "" if there are no rows. */
function table(head: Row, rows: readonly Row[]): string {
  if (rows.length === 0) return "";
  const widths = head.map((_, at) =>
    Math.max(...[head, ...rows].map((row) => row[at]?.length ?? 0)),
  );
  const lines = [head, ...rows].map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  return `${lines.join("\n")}\n`;
}

/** Writes bench/results.json. @returns its path */
export function writeResults(results: Results, settings: object): string {
  const path = join(projectRoot, "bench", "results.json");
  const all = { date: new Date().toISOString(), machine: machine(), settings, ...results };
  writeFileSync(path, `${JSON.stringify(all, null, 2)}\n`);
  return path;
}

function machine(): Record<string, string | number> & Partial<Pair<string>> {
  const all = cpus();
  const system = spawnSync("ssh", ["-V"], { encoding: "utf8" }).stderr?.trim() ?? "";
  return {
    processor: all[0]?.model ?? "",
    cores: all.length,
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    system,
  };
}
