/** Durations: parsed as in sshd_config(5), `90`, `1h30m`, `2w`, and formatted as by OpenSSH 10. */

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** The maximum duration in seconds: OpenSSH uses 32 bits. */
export const maxDuration = 2 ** 31 - 1;

/** Parses a duration to seconds; undefined if it is invalid or more than `maxDuration`. */
export function parseDuration(text: string): number | undefined {
  // The expression does not backtrack, so long invalid text is refused fast.
  if (!/^(?=.)(\d+[smhdw])*\d*$/i.test(text)) return undefined;
  let seconds = 0;
  for (const [, number, unit = ""] of text.matchAll(/(\d+)([smhdw]?)/gi)) {
    seconds += Number(number) * (units[unit.toLowerCase()] ?? 1);
  }
  return seconds <= maxDuration ? seconds : undefined;
}

/** Formats seconds as `01:02:03`, from one day as `3d04h05m`, from one week as `02w3d04h`. */
export function formatDuration(seconds: number): string {
  const days = Math.floor(seconds / 86_400);
  const hours = two(Math.floor(seconds / 3600) % 24);
  const minutes = two(Math.floor(seconds / 60) % 60);
  if (days >= 7) return `${two(Math.floor(days / 7))}w${days % 7}d${hours}h`;
  if (days > 0) return `${days}d${hours}h${minutes}m`;
  return `${hours}:${minutes}:${two(seconds % 60)}`;
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}
