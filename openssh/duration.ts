/** Durations: read as in sshd_config(5), `90`, `1h30m`, `2w`, and shown as OpenSSH 10 shows them. */

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** The longest duration in seconds: OpenSSH's are 32 bits. */
export const maxDuration = 2 ** 31 - 1;

/** A duration in seconds; undefined for an invalid one, or for more than 2^31 - 1 seconds. */
export function parseDuration(text: string): number | undefined {
  // Each digit fits in one way only, so that an invalid long text is refused at once.
  if (!/^(?=.)(\d+[smhdw])*\d*$/i.test(text)) return undefined;
  let seconds = 0;
  for (const [, number, unit = ""] of text.matchAll(/(\d+)([smhdw]?)/gi)) {
    seconds += Number(number) * (units[unit.toLowerCase()] ?? 1);
  }
  return seconds <= maxDuration ? seconds : undefined;
}

/** Seconds as `01:02:03`, from a day on as `3d04h05m`, from a week on as `02w3d04h`. */
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
