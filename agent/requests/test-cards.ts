/** For tests: an agent, and libraries that show the same keys. */
import type { ExecutionContext } from "ava";
import {
  type HostileModule,
  hostilePin,
  makeHostileModule,
} from "../../fixtures/hostile-module/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { AgentClient } from "../../protocol/client.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { startAgent, type TestAgentOptions } from "../test-agent.ts";

/** The data to sign. */
export const data = Buffer.from("what is signed");
export const noPin = Buffer.alloc(0);

/** An agent, and two libraries that show the same key. */
export async function prepare(
  t: ExecutionContext,
  faults: string[] = [],
  options: TestAgentOptions = {},
) {
  const workspace = makeWorkspace(t);
  const one = await makeHostileModule(workspace, ...faults);
  const two = await makeHostileModule(workspace, ...faults);
  const agent = await startAgent(t, options);
  const client = await agent.connect();
  return { workspace, one, two, agent, client };
}

/** Loads libraries one after the other. */
export async function load(client: AgentClient, ...modules: HostileModule[]): Promise<void> {
  for (const { path } of modules) await client.addSmartcardKey(path, Buffer.from(hostilePin));
}

/** The blobs of all that the agent lists. */
export async function blobs(client: AgentClient): Promise<Buffer[]> {
  return (await client.identities()).map(({ keyBlob }) => keyBlob);
}

/** Whether the agent signs with the key at an index in its list. */
export async function signs(client: AgentClient, at = 0): Promise<boolean> {
  const blob = (await blobs(client))[at] ?? noPin;
  const key = decodePublicKey(blob);
  return key !== undefined && verifySignature(key, await client.sign(blob, data), data);
}
