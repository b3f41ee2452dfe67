/** A certificate's validity in words. */
import { type Certificate, forever } from "../protocol/certificate.ts";

const minute = 60n;
const hour = 60n * minute;
const day = 24n * hour;

/**
 * As in `valid for 3h12m`, `expired 2d4h ago`, `valid in 5m0s`, `valid for ever`.
 * @param now seconds since 1970
 */
export function validity({ validAfter, validBefore }: Certificate, now: number): string {
  const time = BigInt(now);
  if (validBefore <= time) return `expired ${formatSpan(time - validBefore)} ago`;
  if (validAfter > time) return `valid in ${formatSpan(validAfter - time)}`;
  if (validBefore === forever) return "valid for ever";
  return `valid for ${formatSpan(validBefore - time)}`;
}

/** Whether a certificate is invalid now, or expires within an hour. */
export function needsAttention({ validAfter, validBefore }: Certificate, now: number): boolean {
  return validAfter > BigInt(now) || validBefore < BigInt(now) + hour;
}

/** Seconds in their two largest units. */
export function formatSpan(seconds: bigint): string {
  if (seconds >= day) return `${seconds / day}d${(seconds % day) / hour}h`;
  if (seconds >= hour) return `${seconds / hour}h${(seconds % hour) / minute}m`;
  if (seconds >= minute) return `${seconds / minute}m${seconds % minute}s`;
  return `${seconds}s`;
}
