/** Descriptors of sockets, which Node.js has and does not tell. */
import type { Server, Socket } from "node:net";

/**
 * The descriptor of an open socket or server. Node.js keeps it in a field that it does not document
 * and has not changed since its first versions; a socket without one is an error, never a guess.
 * @throws when there is none
 */
export function descriptorOf(owner: Socket | Server): number {
  const handle: unknown = Reflect.get(owner, "_handle");
  if (typeof handle === "object" && handle !== null) {
    const descriptor: unknown = Reflect.get(handle, "fd");
    if (typeof descriptor === "number" && descriptor >= 0) return descriptor;
  }
  throw new Error("A socket has no descriptor.");
}
