/**
 * For tests: an agent in a process of its own, with a clock that tests control and memory that they can
 * read. It prints the path of its socket. Each line of its input is a number of milliseconds by which
 * it advances the clock; it answers with a line.
 */
import { createInterface } from "node:readline";
import { garbageCollector } from "../openssh/garbage-collector.ts";
import { loadLibc } from "./host/libc.ts";
import { OpenKeys } from "./keys/open-keys.ts";
import { startAgent, TestClock } from "./test-agent.ts";

const clock = new TestClock();
const openKeys = new OpenKeys(clock, garbageCollector());
const ends: (() => void | Promise<void>)[] = [];
const owner = { teardown: (end: () => void | Promise<void>) => void ends.push(end) };
const { path } = await startAgent(owner, {
  clock,
  softwareKeys: { openKeys, freedMemory: loadLibc().freedMemory },
});
process.stdout.write(`${path}\n`);
for await (const line of createInterface(process.stdin)) {
  clock.pass(Number(line));
  process.stdout.write("passed\n");
}
for (const end of ends) await end();
process.exit();
