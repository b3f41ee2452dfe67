/** What `ssh-agent -O` says of cards. */
import { parseDuration } from "./host/duration.ts";
import { UsageError } from "./usage-error.ts";

/** How long a card may take, in seconds. */
export interface CardTimeout {
  readonly sign: number;
  readonly load: number;
}

/** The longest limit, in seconds. */
const maxTimeout = 86_400;

/** The seconds of `-O pin-cache`; 0 for `none`, and without it. @throws {UsageError} */
export function keepPinOf(text: string | undefined): number {
  if (text === undefined || text === "none") return 0;
  return parseDuration(text) ?? badFeature(`Invalid pin-cache "${text}": use none, or a time`);
}

/** `-O card-timeout`: `TIME`, or `TIME,TIME` for a signature and for loading. @throws {UsageError} */
export function cardTimeoutOf(text: string | undefined): CardTimeout | undefined {
  if (text === undefined) return undefined;
  const times = text.split(",").map((time) => parseDuration(time) ?? 0);
  const [sign = 0, load = sign] = times;
  if (times.length <= 2 && times.every((time) => time > 0 && time <= maxTimeout)) {
    return { sign, load };
  }
  return badFeature(`Invalid card-timeout "${text}": use a time up to a day, or two`);
}

function badFeature(message: string): never {
  throw new UsageError(message, 255, false);
}
