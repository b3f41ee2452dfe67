/** The options for cards: `ssh-agent -O pin-cache`, `-O card-timeout` and `-O idle-release`. */
import { parseDuration } from "../openssh/duration.ts";
import { fatal } from "../openssh/exit.ts";

/** Timeouts of a card, in seconds: for a signature, and for loading a provider. */
export interface CardTimeout {
  readonly sign: number;
  readonly load: number;
}

const secondsPerDay = 86_400;

/** Parses `-O pin-cache`: seconds, or 0 for `none` and without the option. @throws {Exit} */
export function parsePinCache(text: string | undefined): number {
  if (text === undefined || text === "none") return 0;
  return parseDuration(text) ?? invalidOption(`Invalid pin-cache "${text}": use none or a time`);
}

/**
 * Parses `-O idle-release`: seconds, or undefined for `none` and without the option. @throws {Exit}
 */
export function parseIdleRelease(text: string | undefined): number | undefined {
  if (text === undefined || text === "none") return undefined;
  const time = parseDuration(text) ?? 0;
  if (time > 0 && time <= secondsPerDay) return time;
  return invalidOption(`Invalid idle-release "${text}": use none or a time up to a day`);
}

/** Parses `-O card-timeout`: `TIME` for both, or `SIGN,LOAD`. @throws {Exit} */
export function parseCardTimeout(text: string | undefined): CardTimeout | undefined {
  if (text === undefined) return undefined;
  const times = text.split(",").map((time) => parseDuration(time) ?? 0);
  const [sign = 0, load = sign] = times;
  if (times.length <= 2 && times.every((time) => time > 0 && time <= secondsPerDay)) {
    return { sign, load };
  }
  return invalidOption(`Invalid card-timeout "${text}": use a time up to a day, or two`);
}

function invalidOption(message: string): never {
  throw fatal(message);
}
