/** Lifetimes: read as in sshd_config(5), and shown as OpenSSH 10 shows them. */

const units: Readonly<Record<string, number>> = {
  "": 1,
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};
const longest = 0x7fff_ffff;

/**
 * Reads a time such as `600`, `1h30m` or `2w` as seconds.
 * @returns undefined for what is no time, or one of more than 2^31 - 1 seconds
 */
export function parseLifetime(text: string): number | undefined {
  // Each digit fits in one way only, so that a long text that is no time is refused at once.
  if (!/^(?=.)(\d+[smhdw])*\d*$/i.test(text)) return undefined;
  let seconds = 0;
  for (const [, digits, unit] of text.matchAll(/(\d+)([smhdw]?)/gi)) {
    seconds += Number(digits) * (units[(unit ?? "").toLowerCase()] ?? 1);
    if (seconds > longest) return undefined;
  }
  return seconds;
}

/** Seconds as `01:02:03`, from a day on as `3d04h05m`, from a week on as `02w3d04h`. */
export function formatLifetime(seconds: number): string {
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
