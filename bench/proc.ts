/** What Linux tells of the memory of a process, below /proc. */
import { readFileSync } from "node:fs";

/** The memory of a process, in bytes. */
export interface ProcessMemory {
  /** Pages that it has in memory, also those that it shares with other processes. */
  readonly resident: number;
  /**
   * The same, with shared pages divided among those who share them. Undefined where the system does
   * not tell: of processes that may not be attached to, it tells root alone.
   */
  readonly share: number | undefined;
}

/** The memory of a process now. */
export function memoryOf(pid: number): ProcessMemory {
  const resident = readKilobytes(pid, "status", "VmRSS");
  if (resident === undefined) throw new Error(`The process ${pid} tells nothing of its memory.`);
  return { resident, share: readKilobytes(pid, "smaps_rollup", "Pss") };
}

function readKilobytes(pid: number, file: string, field: string): number | undefined {
  const [, kilobytes] = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(read(pid, file)) ?? [];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** Empty for a process that has ended, and for what may not be read. */
function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return "";
  }
}
