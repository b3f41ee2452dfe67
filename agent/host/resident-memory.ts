/** This process's memory, as Linux counts it: its own data, and the pages of its program. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { LibraryHandle } from "koffi";

const madvDontneed = 4;

const pageSize = 4096;

/** The bytes of this process's data in memory, without the pages of files; proc_pid_statm(5). */
export function residentData(): number {
  const [, resident = 0, ofFiles = 0] = readFileSync("/proc/self/statm", "latin1")
    .split(" ")
    .map(Number);
  return (resident - ofFiles) * pageSize;
}

/** A part of the process's memory. */
interface Mapping {
  readonly start: number;
  readonly end: number;
}

/**
 * Unmaps the pages of the executable's code and constants. Those that are used again come back from the
 * kernel's cache of the file: the start of Node.js touches several times as many as an idle agent.
 */
export async function unmapProgramPages(library: LibraryHandle): Promise<void> {
  const madvise = library.func("int madvise(intptr_t, size_t, int)");
  // Reading smaps, the kernel looks at every page.
  const smaps = await readFile("/proc/self/smaps", "latin1").catch(() => "");
  for (const { start, end } of unchangedMappings(smaps, process.execPath)) {
    madvise(start, end - start, madvDontneed);
  }
}

/**
 * The mappings of a file that cannot be written to, and of which no page was changed before that, such as
 * by the dynamic loader.
 * @param smaps as /proc/self/smaps, proc_pid_smaps(5)
 */
export function unchangedMappings(smaps: string, path: string): Mapping[] {
  const header = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +(.*)$/m;
  return smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).flatMap((entry) => {
    const [, start = "", end = "", file] = header.exec(entry) ?? [];
    if (file !== path || !/^Anonymous: +0 kB$/m.test(entry)) return [];
    return [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) }];
  });
}
