/** Upstream agents for tests. */
import { systemClock } from "../host/clock.ts";
import type { UpstreamOption } from "./upstream.ts";
import type { UpstreamLimits } from "./upstream-connection.ts";
import { Upstreams } from "./upstreams.ts";

/** The process of each upstream agent: none of the clients'. */
export const testPid = 1;

const ownUid = process.getuid?.() ?? 0;

/**
 * Makes upstream agents, which tests wait for by the machine's clock.
 * @param limits long by default: time is not to pass while a test is busy
 */
export function makeUpstreams(
  options: readonly UpstreamOption[] = [],
  limits: UpstreamLimits = { list: 20_000, sign: 20_000, other: 20_000 },
  log: (line: string) => void = () => {},
  uid = ownUid,
): Upstreams {
  const peerOf = () => ({ pid: testPid, uid });
  const processNameOf = () => Promise.resolve("test");
  return new Upstreams({
    options,
    limits,
    clock: systemClock,
    peerOf,
    processName: processNameOf,
    log,
  });
}
