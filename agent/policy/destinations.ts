/**
 * Destination constraints (OpenSSH's PROTOCOL.agent, `restrict-destination-v00@openssh.com`):
 * whether an identity may be listed or used through the sessions that a connection is bound to.
 */
import { matchesPattern } from "../../openssh/patterns.ts";
import type { DestinationConstraint, Hop } from "../../protocol/constraints.ts";
import { Failure } from "../../protocol/failure.ts";
import type { VerifiedKey } from "../../protocol/verification.ts";
import type { WallClock } from "../host/clock.ts";
import type { KeyringIdentity } from "../identity.ts";
import { isForHost } from "./host-certificate.ts";
import type { Binding, BoundSession, SessionBindings } from "./session.ts";
import { parseUserauth, type UserauthRequest } from "./userauth.ts";

/** Whether a connection may list an identity, and so remove or replace it. */
export function isVisible(
  { limits }: KeyringIdentity,
  { binding }: SessionBindings,
  clock: WallClock,
): boolean {
  return isPermitted(limits.destinations, binding, undefined, clock);
}

/**
 * Refuses a change to identities that a connection may not list.
 * @throws {Failure} destination-not-permitted
 */
export function refuseHidden(
  identities: readonly KeyringIdentity[],
  bindings: SessionBindings,
  clock: WallClock,
): void {
  if (identities.every((one) => isVisible(one, bindings, clock))) return;
  throw refused("This identity is limited to other destinations.");
}

/**
 * Whether an identity may be listed and removed on a connection or, with `user`, sign a login there.
 * A constraint has to allow each hop, that is each bound session.
 * @param user the user name of the login to sign; undefined for other requests
 */
function isPermitted(
  destinations: readonly DestinationConstraint[],
  binding: Binding,
  user: string | undefined,
  clock: WallClock,
): boolean {
  if (destinations.length === 0) return true;
  switch (binding.state) {
    case "local":
      return true;
    case "failed":
      return false;
    case "bound":
      return isPermittedThrough(destinations, binding.sessions, user, clock);
  }
}

function isPermittedThrough(
  destinations: readonly DestinationConstraint[],
  sessions: readonly BoundSession[],
  user: string | undefined,
  clock: WallClock,
): boolean {
  const last = sessions.at(-1);
  if (last?.isForwarding && user !== undefined) return false;
  let from: BoundSession | undefined;
  for (const session of sessions) {
    if (session !== last && !session.isForwarding) return false;
    const hopUser = session === last ? user : undefined;
    if (!allowsHop(destinations, from, session, hopUser, clock)) return false;
    from = session;
  }
  // A key that may log in to a host, but not from there, is not listed for clients on that host.
  if (last?.isForwarding && user === undefined) {
    return allowsHop(destinations, last, undefined, undefined, clock);
  }
  return true;
}

/**
 * Checks a signature with a constrained identity: it must be for a login to a permitted host, in the
 * session that was bound last.
 * @param keyBlob the blob of the signing identity
 * @throws {Failure} destination-not-permitted
 */
export function checkSignature(
  destinations: readonly DestinationConstraint[],
  { binding }: SessionBindings,
  keyBlob: Buffer,
  data: Buffer,
  clock: WallClock,
): UserauthRequest {
  if (binding.state === "failed")
    throw refused("An earlier session-bind on this connection failed.");
  const sessions = binding.state === "bound" ? binding.sessions : [];
  const last = sessions.at(-1);
  if (last === undefined)
    throw refused("The key is limited to certain hosts, and no session is bound.");
  const login = parseUserauth(data, keyBlob);
  if (login === undefined)
    throw refused("The key is limited to logins to certain hosts, and this is not a login.");
  if (!isPermitted(destinations, binding, login.user, clock)) {
    throw refused("The key may not be used for this host or user.");
  }
  if (!login.sessionId.equals(last.sessionId)) {
    throw refused("The login's session identifier is not that of the bound session.");
  }
  // Past the first hop, only a signature that names the host can be told from a relayed one.
  if (sessions.length > 1 && login.hostKey === undefined) {
    throw refused("The login request does not name a host key.");
  }
  if (login.hostKey !== undefined && !login.hostKey.equals(last.hostBlob)) {
    throw refused("The login's host key is not that of the bound session.");
  }
  return login;
}

/** Whether a constraint allows the hop; without `to`, whether one allows any hop from there. */
function allowsHop(
  destinations: readonly DestinationConstraint[],
  from: BoundSession | undefined,
  to: BoundSession | undefined,
  user: string | undefined,
  clock: WallClock,
): boolean {
  return destinations.some((destination) => {
    const isFrom =
      from === undefined
        ? destination.from.keys.length === 0
        : isHost(destination.from, from.host, clock);
    if (!isFrom) return false;
    if (to !== undefined && !isHost(destination.to, to.host, clock)) return false;
    const wanted = destination.to.user;
    return wanted === "" || user === undefined || matchesPattern(user, wanted);
  });
}

/** Whether a hop names a host, by its key or by the CA of its certificate. */
function isHost(hop: Hop, { keyBlob, certificate }: VerifiedKey, clock: WallClock): boolean {
  return hop.keys.some((known) => {
    if (certificate === undefined) return !known.isCa && known.keyBlob.equals(keyBlob);
    const isByCa = known.isCa && known.keyBlob.equals(certificate.caKey);
    return isByCa && isForHost(certificate, hop.host, clock());
  });
}

function refused(sentence: string): Failure {
  return new Failure("destination-not-permitted", sentence);
}
