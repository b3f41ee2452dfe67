/** For tests: an agent with a renewal program that does what the test wants. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { RenewalDescription } from "../../protocol/extensions/list-renewals.ts";
import { blobAlgorithm } from "../../protocol/public-key.ts";
import { startAgent, type TestAgentOptions, TestTime } from "../test-agent.ts";

/** A line that holds a key or certificate. */
export function lineOf(blob: Buffer, comment = "new"): string {
  return `${blobAlgorithm(blob)} ${blob.toString("base64")} ${comment}\n`;
}

/** A renewal program. Each run adds a line to `runs`. */
export function makeProgram(t: ExecutionContext) {
  const workspace = makeWorkspace(t);
  const script = `#!/bin/sh
cd ${workspace.root} || exit 1
cat >stdin
if [ "$CARDAGENT_CERTIFICATE" ]; then
  cp "$CARDAGENT_CERTIFICATE" old
  stat -c %a "$CARDAGENT_CERTIFICATE" "$(dirname "$CARDAGENT_CERTIFICATE")" >modes
fi
echo $$ $# "\${CARDAGENT_CERTIFICATE-none}" >>runs
while [ -e hold ]; do sleep 0.05; done
if [ -e fail ]; then cat fail >&2; exit 2; fi
if [ -e script ]; then . ./script; fi
cat answer
`;
  const read = (name: string) => {
    const path = workspace.path(name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };
  return {
    workspace,
    path: workspace.write("renew", script, 0o700),
    read,
    /** The lines of the runs: process ID, number of arguments, path of the old certificate. */
    runs: () => read("runs").split("\n").slice(0, -1),
    /** What the next runs print. */
    answer: (blob: Buffer) => writeFileSync(workspace.path("answer"), lineOf(blob)),
    set: (name: "hold" | "fail" | "script" | "answer", text: string) =>
      writeFileSync(workspace.path(name), text),
    unset: (name: "hold" | "fail" | "script") => rmSync(workspace.path(name)),
  };
}

/** An agent with a renewal program, whose time is the test's. */
export async function prepareRenewal(
  t: ExecutionContext,
  options: TestAgentOptions & { readonly all?: boolean } = {},
) {
  const program = makeProgram(t);
  const time = new TestTime();
  const renewal = { program: program.path, all: options.all ?? false };
  const agent = await startAgent(t, { clock: time, wallClock: time.wall, renewal, ...options });
  const client = await agent.connect();
  const blobs = async () => (await client.identities()).map(({ keyBlob }) => keyBlob);
  return {
    program,
    time,
    agent,
    client,
    blobs,
    /** Waits until a certificate is listed. */
    gets: (blob: Buffer) =>
      eventually(async () => (await blobs()).some((listed) => listed.equals(blob))),
    /** Waits until the only renewal is in a state. */
    waitFor: async (is: (renewal: RenewalDescription) => boolean): Promise<RenewalDescription> => {
      let found: RenewalDescription | undefined;
      await eventually(async () => {
        found = (await client.listRenewals()).find(is);
        return found !== undefined;
      });
      if (found === undefined) throw new Error("There is no such renewal.");
      return found;
    },
  };
}
