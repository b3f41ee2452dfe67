/** Waiting in a program that has nothing else to do. */

/** Holds this thread up for some milliseconds. */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
