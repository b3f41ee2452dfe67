/** For tests: hosts that bind connections, keys constrained to them, and the data that ssh signs. */
import type { ExecutionContext } from "ava";
import { type AgentClient, AgentRefusal } from "../../protocol/client.ts";
import type { DestinationConstraint, Hop } from "../../protocol/constraints.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { Writer } from "../../protocol/wire.ts";
import { generateKey, makeCa, startAgent, type TestAgent, type TestCa } from "../test-agent.ts";

/** For `t.throwsAsync`: the error of a refused request. */
export const refused = { instanceOf: AgentRefusal };

/** A host: its key, and the hop that names it in constraints. */
export interface Host {
  readonly key: TestCa;
  readonly hop: Hop;
}

/** Makes a host with a key of its own. */
export function makeHost(host: string): Host {
  const key = makeCa();
  return { key, hop: { user: "", host, keys: [{ keyBlob: key.keyBlob, isCa: false }] } };
}

/** The agent's own machine. */
export const origin: Hop = { user: "", host: "", keys: [] };

/** Binds a connection. @param hostKey the host's key, or a certificate of it */
export function bind(
  client: AgentClient,
  host: Host,
  session: string,
  isForwarding: boolean,
  hostKey: Buffer = host.key.keyBlob,
): Promise<void> {
  const sessionId = Buffer.from(session);
  const signature = host.key.sign(sessionId);
  return client.bindSession({ hostKey, sessionId, signature, isForwarding });
}

/** The data that ssh signs for a login. @param algorithm the signature algorithm in the request */
export function login(
  session: string,
  user: string,
  keyBlob: Buffer,
  hostKey?: Buffer,
  algorithm = "ssh-ed25519",
): Buffer {
  const writer = new Writer().text(session).byte(50).text(user).text("ssh-connection");
  writer.text(hostKey ? "publickey-hostbound-v00@openssh.com" : "publickey");
  writer.bool(true).text(algorithm).string(keyBlob);
  if (hostKey) writer.string(hostKey);
  return writer.finish();
}

/** Starts an agent with one constrained key. */
export async function withKey(
  t: ExecutionContext,
  destinations: readonly DestinationConstraint[],
): Promise<{ readonly agent: TestAgent; readonly blob: Buffer }> {
  const agent = await startAgent(t);
  const key = generateKey("ed25519");
  const client = await agent.connect();
  await client.addIdentity(key, "key", [{ type: "restrict-destination", destinations }]);
  return { agent, blob: encodePublicKey(key.publicKey) };
}

/** Whether the connection lists exactly one key. */
export async function isListed(client: AgentClient): Promise<boolean> {
  return (await client.identities()).length === 1;
}

/** Asserts that a signature is refused because of its destination. */
export async function isRefused(
  t: ExecutionContext,
  client: AgentClient,
  signature: Promise<Buffer>,
): Promise<void> {
  await t.throwsAsync(signature, refused);
  t.is((await client.failureReason())?.code, "destination-not-permitted");
}
