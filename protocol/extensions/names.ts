/**
 * The names of the supported extensions (RFC 9987, section 3.8), as an agent lists them for
 * `AgentClient.query`. docs/PROTOCOL.md describes those at `cardagent.alt`.
 */
export const extensionNames = {
  /** RFC 9987, section 3.8.1. */
  query: "query",
  /** OpenSSH's PROTOCOL.agent, section 1. */
  sessionBind: "session-bind@openssh.com",
  listProviders: "list-providers@cardagent.alt",
  prepareProvider: "prepare-provider@cardagent.alt",
  removeAllProviders: "remove-all-providers@cardagent.alt",
  addCertificate: "add-certificate@cardagent.alt",
  failureReason: "failure-reason@cardagent.alt",
  listUpstreams: "list-upstreams@cardagent.alt",
  listRenewals: "list-renewals@cardagent.alt",
  agentPath: "agent-path@cardagent.alt",
} as const;
