/** Blocks the thread: for `ssh-add` and the PKCS#11 child, never in the agent. @param ms milliseconds */
export function sleepSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
