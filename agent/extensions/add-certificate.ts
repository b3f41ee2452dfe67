/** `add-certificate@cardagent.alt`: a certificate for a private key that the agent can use. */
import { decodeAddCertificate } from "../../protocol/extensions/add-certificate.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { attachCertificate } from "../requests/attach-certificate.ts";

/** Attaches the certificate that a client sent. */
export function addCertificate(
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
): Reply | Promise<Reply> {
  const attaching = attachCertificate(agent, connection, decodeAddCertificate(body));
  return attaching === undefined ? success : attaching.then(() => success);
}

const success: Reply = { type: "success" };
