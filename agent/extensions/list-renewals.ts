/** `list-renewals@cardagent.alt`: lists the certificates that the agent renews. */
import { encodeListRenewalsReply } from "../../protocol/extensions/list-renewals.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { refuseRemote } from "../requests/smartcard.ts";

/** Lists the renewals, also those of upstream agents that tell them. */
export async function listRenewals(
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
): Promise<Reply> {
  new Reader(body).end();
  refuseRemote(agent, connection, "list renewals");
  const upstream = await connection.upstreams.gather((one) =>
    one.listDetails((client) => client.listRenewals()),
  );
  return {
    type: "extension-response",
    name: extensionNames.listRenewals,
    body: encodeListRenewalsReply([...agent.renewals.describe(), ...upstream.flat()]),
  };
}
