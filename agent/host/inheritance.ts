/**
 * What this process was started with and Node.js has changed: it closes descriptors on exec, and
 * raises the limit of open files. A program that takes this process over should find both unchanged.
 *
 * Linux tells by /proc. Elsewhere nothing is found, and nothing is put back.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** How many files a process may have open: up to where the limit is, and how far it can be raised. */
export interface FileLimit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/**
 * The descriptors that whoever started this process left open, beside the standard ones. Those of
 * Node.js itself are event queues, and pipes that have both their ends here.
 * To be called before this program opens any.
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
 * The limit of open files that this process was started with, as far as can be told: its parent's,
 * unless somebody has set another one in between. Undefined when it is as it was.
 */
export function inheritedFileLimit(): FileLimit | undefined {
  const own = fileLimitOf("self");
  const parents = fileLimitOf(String(process.ppid));
  if (own === undefined || parents === undefined) return undefined;
  return own.hard === parents.hard && parents.soft < own.soft ? parents : undefined;
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
    // The one that the folder was read by.
    return undefined;
  }
}
