/** Starting Node.js as it comes. */

/**
 * An environment without what is set for other programs in Node.js. Options can open a debugger in a
 * process with secrets; any that is V8's also makes it pass over the compiled code of Node.js's own
 * modules, and the start takes half as long again. Certificates are all read at the start, by a
 * process that never makes a TLS connection: the usual ones triple it.
 */
export function plainNode(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, NODE_EXTRA_CA_CERTS: _certificates, ...rest } = environment;
  return rest;
}
