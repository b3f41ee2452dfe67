/**
 * Inherited state that Node.js changes: it sets close-on-exec on descriptors and raises the limit of
 * open files. A command that replaces this process should find both unchanged.
 *
 * Read from Linux's /proc; elsewhere nothing is restored.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A limit of open files (RLIMIT_NOFILE). */
export interface FileLimit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/**
 * The inherited descriptors, beside the standard ones. Those of Node.js itself are left out: event
 * queues, and pipes with both ends in this process. Call this before the program opens any.
 */
export function inheritedDescriptors(): number[] {
  const targets = new Map<number, string>();
  for (const name of listOrNothing("/proc/self/fd")) {
    const descriptor = Number(name);
    const target = targetOf(descriptor);
    if (descriptor > 2 && target !== undefined) targets.set(descriptor, target);
  }
  const all = [...targets.values()];
  const isPair = (target: string) => all.indexOf(target) !== all.lastIndexOf(target);
  return [...targets]
    .filter(([, target]) => !target.startsWith("anon_inode:"))
    .filter(([, target]) => !(target.startsWith("pipe:") && isPair(target)))
    .map(([descriptor]) => descriptor);
}

/**
 * The limit of open files that this process was probably started with: the parent's, if only the soft
 * limit differs. Undefined if the limit is unchanged, or was set by another program in between.
 */
export function inheritedFileLimit(): FileLimit | undefined {
  const own = fileLimitOf("self");
  const parent = fileLimitOf(String(process.ppid));
  if (own === undefined || parent === undefined) return undefined;
  return own.hard === parent.hard && parent.soft < own.soft ? parent : undefined;
}

function fileLimitOf(pid: string): FileLimit | undefined {
  try {
    const limits = readFileSync(`/proc/${pid}/limits`, "latin1");
    const [, soft, hard] = /^Max open files\s+(\d+)\s+(\d+)/m.exec(limits) ?? [];
    if (soft === undefined || hard === undefined) return undefined;
    return { soft: BigInt(soft), hard: BigInt(hard) };
  } catch {
    return undefined;
  }
}

function listOrNothing(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function targetOf(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return undefined; // readdirSync's own descriptor, which is closed by now
  }
}
