/**
 * What an agent in the background tells the program that started it, over a pipe: where it is about to
 * listen, and then that it serves, or why it does not.
 */
import { closeSync, writeSync } from "node:fs";
import type { Readable } from "node:stream";
import type { SocketPlace } from "./host/socket-path.ts";

/** The descriptor that the agent has the pipe at. */
export const reportDescriptor = 3;

/** What is told, in this order. */
export type StartReport =
  /** Nothing is made there yet; whoever made what is found there later is not known. */
  | { readonly type: "trying"; readonly place: SocketPlace }
  | { readonly type: "serving" }
  | { readonly type: "failed"; readonly sentence: string; readonly status: number };

/** How an agent started, as far as it has told before it closed the pipe. */
export type StartOutcome =
  | { readonly type: "serving"; readonly place: SocketPlace }
  | { readonly type: "failed"; readonly sentence: string; readonly status: number }
  | { readonly type: "silent"; readonly places: readonly SocketPlace[] };

/** Tells the starting program. @throws when it has gone: then nobody knows of the agent */
export function report(message: StartReport): void {
  writeSync(reportDescriptor, `${JSON.stringify(message)}\n`);
  if (message.type !== "trying") closeSync(reportDescriptor);
}

/** Reads what an agent tells, until it serves or closes the pipe. */
export function readReports(pipe: Readable): Promise<StartOutcome> {
  return new Promise((resolve) => {
    const places: SocketPlace[] = [];
    let text = "";
    pipe.on("data", (chunk) => {
      const lines = `${text}${chunk}`.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const message = JSON.parse(line) as StartReport;
        if (message.type === "trying") places.push(message.place);
        else if (message.type === "failed") resolve(message);
        else resolve(servingAt(places));
      }
    });
    pipe.on("error", () => resolve({ type: "silent", places }));
    pipe.on("close", () => resolve({ type: "silent", places }));
  });
}

function servingAt(places: readonly SocketPlace[]): StartOutcome {
  const place = places.at(-1);
  return place === undefined ? { type: "silent", places } : { type: "serving", place };
}
