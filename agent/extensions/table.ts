/** The supported extensions. To add one, add a file in this folder and a row here. */
import { keepEndedCertificate, onlyKeys } from "../../protocol/constraints.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import { encodeQueryReply } from "../../protocol/extensions/query.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { addCertificate } from "./add-certificate.ts";
import { agentPath } from "./agent-path.ts";
import { failureReason } from "./failure-reason.ts";
import { listProviders } from "./list-providers.ts";
import { listRenewals } from "./list-renewals.ts";
import { listUpstreams } from "./list-upstreams.ts";
import { prepareProvider } from "./prepare-provider.ts";
import { removeAllProviders } from "./remove-all-providers.ts";
import { sessionBind } from "./session-bind.ts";

/** Answers an extension request, at once or later, or throws a `Failure`. */
type ExtensionHandler = (
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
) => Reply | Promise<Reply>;

/** The handlers by extension name. */
export const extensionHandlers: ReadonlyMap<string, ExtensionHandler> = new Map<
  string,
  ExtensionHandler
>([
  [extensionNames.query, query],
  [extensionNames.sessionBind, sessionBind],
  [extensionNames.listProviders, listProviders],
  [extensionNames.prepareProvider, prepareProvider],
  [extensionNames.removeAllProviders, removeAllProviders],
  [extensionNames.addCertificate, addCertificate],
  [extensionNames.failureReason, failureReason],
  [extensionNames.listUpstreams, listUpstreams],
  [extensionNames.listRenewals, listRenewals],
  [extensionNames.agentPath, agentPath],
]);

/** Extensions that a locked agent answers too: none of them reveals what the agent holds. */
export const extensionsWhileLocked: ReadonlySet<string> = new Set([
  extensionNames.query,
  extensionNames.sessionBind,
  extensionNames.failureReason,
  extensionNames.agentPath,
]);

/**
 * `query`: the names of all other extensions (RFC 9987, section 3.8.1), and of the constraints that
 * clients may send only to agents that support them.
 */
function query(): Reply {
  const names = [...extensionHandlers.keys()].filter((name) => name !== extensionNames.query);
  const body = encodeQueryReply([...names, keepEndedCertificate, onlyKeys]);
  return { type: "extension-response", name: extensionNames.query, body };
}
