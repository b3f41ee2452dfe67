/** Descriptors of sockets, for which Node.js has no public API. */
import type { Server, Socket } from "node:net";

/**
 * The descriptor of an open socket or server, from an undocumented field that has been the same since
 * the first versions of Node.js.
 * @throws if there is none
 */
export function descriptorOf(owner: Socket | Server): number {
  const handle: unknown = Reflect.get(owner, "_handle");
  if (typeof handle === "object" && handle !== null) {
    const descriptor: unknown = Reflect.get(handle, "fd");
    if (typeof descriptor === "number" && descriptor >= 0) return descriptor;
  }
  throw new Error("A socket has no descriptor.");
}
