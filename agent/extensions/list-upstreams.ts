/** `list-upstreams@cardagent.alt`: lists the agents behind this one. */
import { encodeListUpstreamsReply } from "../../protocol/extensions/list-upstreams.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { refuseRemote } from "../requests/smartcard.ts";

/** Asks each upstream agent for its list, and describes them. */
export async function listUpstreams(
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
): Promise<Reply> {
  new Reader(body).end();
  refuseRemote(agent, connection, "list upstream agents");
  const upstreams = await connection.upstreams.describe();
  return {
    type: "extension-response",
    name: extensionNames.listUpstreams,
    body: encodeListUpstreamsReply(upstreams),
  };
}
