/** Durations as sshd_config(5) has them: `90`, `1h30m`, `2w`. */

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const longest = 2 ** 31 - 1;

/** A duration in seconds; undefined for what is none, or is longer than 2^31 - 1 seconds. */
export function parseDuration(text: string): number | undefined {
  // Each digit fits in one way only, so that a long text that is no time is refused at once.
  if (!/^(?=.)(\d+[smhdw])*\d*$/i.test(text)) return undefined;
  let seconds = 0;
  for (const [, number, unit = ""] of text.matchAll(/(\d+)([smhdw]?)/gi)) {
    seconds += Number(number) * (units[unit.toLowerCase()] ?? 1);
  }
  return seconds <= longest ? seconds : undefined;
}
