/** `failure-reason@cardagent.alt`: why the last failed request on this connection failed. */
import { encodeFailureReason } from "../../protocol/extensions/failure-reason.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";

/** Returns the reason. The extension failure without one is not recorded as a failed request. */
export function failureReason(_agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  new Reader(body).end();
  const { lastFailure } = connection;
  if (lastFailure === undefined) return { type: "extension-failure" };
  return {
    type: "extension-response",
    name: extensionNames.failureReason,
    body: encodeFailureReason(lastFailure),
  };
}
