/** Requests 17 and 25: a private key, alone or with its certificate (RFC 9987, section 3.2). */
import { identify, verifyCertificate } from "../../protocol/certificate.ts";
import { malformed } from "../../protocol/failure.ts";
import { identityBlob, wipePrivateKey } from "../../protocol/private-key.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Request } from "../../protocol/requests.ts";
import { type Agent, type ConnectionState, describeIdentity } from "../agent.ts";
import type { KeyringIdentity } from "../keyring.ts";
import { softwareSigner } from "../keys/software-key.ts";
import { limitsOf } from "./limits.ts";

/** Adds an identity, or gives the one with the same blob a new comment and new constraints. */
export async function addIdentity(
  agent: Agent,
  _connection: ConnectionState,
  request: Extract<Request, { type: "add-identity" }>,
): Promise<Reply> {
  const { key, comment, constraints } = request;
  try {
    const { limits } = limitsOf(agent, constraints, false);
    const blob = Buffer.from(identityBlob(key));
    const identified = identify(blob);
    if (identified === undefined) throw malformed("The key's type is not known.");
    if (identified.certificate !== undefined && !verifyCertificate(blob)) {
      throw malformed("The certificate is not signed by the key of its authority.");
    }
    const signer = await softwareSigner(key);
    const identity: KeyringIdentity = {
      ...identified,
      blob,
      comment,
      signer,
      limits,
      provider: undefined,
    };
    agent.keyring.add(identity);
    agent.log(`added ${describeIdentity(identity)}`);
    return { type: "success" };
  } finally {
    wipePrivateKey(key);
  }
}
