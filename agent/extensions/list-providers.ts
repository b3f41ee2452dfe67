/** `list-providers@cardagent.alt`: lists the loaded PKCS#11 providers. */
import {
  encodeListProvidersReply,
  type ProviderDescription,
} from "../../protocol/extensions/list-providers.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import type { Provider } from "../pkcs11/provider.ts";
import { refuseRemote } from "../requests/smartcard.ts";

/**
 * Lists the providers, also those of upstream agents that tell them. A slow provider delays only this
 * reply, up to its timeout for status.
 */
export async function listProviders(
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
): Promise<Reply> {
  new Reader(body).end();
  refuseRemote(agent, connection);
  agent.providers.noteUse();
  const described = agent.providers.list().map((provider) => describe(agent, provider));
  const upstream = connection.upstreams.gather((one) =>
    one.listDetails((client) => client.listProviders()),
  );
  const name = extensionNames.listProviders;
  const providers = [...(await Promise.all(described)), ...(await upstream).flat()];
  return { type: "extension-response", name, body: encodeListProvidersReply(providers) };
}

async function describe(agent: Agent, provider: Provider): Promise<ProviderDescription> {
  const { path, requested, tokens, leftOut } = provider;
  const { state, tokens: tokenStates, isReleased } = await provider.status();
  const identities = agent.keyring.ofProvider(path).map(({ blob }) => blob);
  return { path, requested, state, tokens, identities, tokenStates, isReleased, leftOut };
}
