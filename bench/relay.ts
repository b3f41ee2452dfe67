/**
 * Copies bytes between its clients and an agent, which is the least that a program in Node.js in front
 * of an agent costs: relay.ts SOCKET AGENT.
 */
import { connect, createServer } from "node:net";

const [socket = "", agent = ""] = process.argv.slice(2);

createServer((client) => {
  const upstream = connect({ path: agent });
  client.pipe(upstream);
  upstream.pipe(client);
}).listen(socket);
