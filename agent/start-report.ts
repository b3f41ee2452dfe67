/**
 * Reports of an agent in the background to the program that started it, over a pipe: the paths it tries
 * to listen at, then that it serves, or why it failed.
 */
import { closeSync, writeSync } from "node:fs";
import type { Readable } from "node:stream";
import type { SocketPaths } from "./host/socket-path.ts";

/** The agent's descriptor of the pipe. */
export const reportDescriptor = 3;

/** A report, one JSON object per line. */
type StartReport =
  /** Sent before anything is created at these paths. A file found there later may be another program's. */
  | { readonly type: "trying"; readonly paths: SocketPaths }
  | { readonly type: "serving" }
  | { readonly type: "failed"; readonly sentence: string; readonly status: number };

/** How an agent started. "silent": it closed the pipe before it reported "serving" or "failed". */
type StartOutcome =
  | { readonly type: "serving"; readonly paths: SocketPaths }
  | { readonly type: "failed"; readonly sentence: string; readonly status: number }
  | { readonly type: "silent"; readonly tried: readonly SocketPaths[] };

/** Sends a report to the starting program. @throws if that program has gone */
export function report(message: StartReport): void {
  writeSync(reportDescriptor, `${JSON.stringify(message)}\n`);
  if (message.type !== "trying") closeSync(reportDescriptor);
}

/** Reads an agent's reports until it serves, fails, or closes the pipe. */
export function readReports(pipe: Readable): Promise<StartOutcome> {
  return new Promise((resolve) => {
    const tried: SocketPaths[] = [];
    const silent = () => resolve({ type: "silent", tried });
    let text = "";
    pipe.on("data", (chunk) => {
      const lines = `${text}${chunk}`.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const message = JSON.parse(line) as StartReport;
        const last = tried.at(-1);
        if (message.type === "trying") tried.push(message.paths);
        else if (message.type === "failed") resolve(message);
        else if (last === undefined) silent();
        else resolve({ type: "serving", paths: last });
      }
    });
    pipe.on("error", silent).on("close", silent);
  });
}
