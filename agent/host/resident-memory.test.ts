import { readFileSync } from "node:fs";
import test from "ava";
import { residentData, unchangedMappings } from "./resident-memory.ts";

const entry = (header: string, anonymous: number) =>
  `${header}\nSize:   4 kB\nRss:    4 kB\nAnonymous:   ${anonymous} kB\nVmFlags: rd mr mw me sd\n`;

const code = entry("00400000-0082f000 r-xp 00000000 fe:00 42      /opt/my bin/ssh-agent", 0);
const constants = entry("0082f000-00900000 r--p 0042f000 fe:00 42     /opt/my bin/ssh-agent", 0);

test("code and constants of the program are unchanged", (t) => {
  t.deepEqual(unchangedMappings(code + constants, "/opt/my bin/ssh-agent"), [
    { start: 0x400000, end: 0x82f000 },
    { start: 0x82f000, end: 0x900000 },
  ]);
});

test("what was written to, or can be, and what other files have, is kept", (t) => {
  const others = [
    entry("00900000-00933000 r--p 004c0000 fe:00 42     /opt/my bin/ssh-agent", 204),
    entry("00933000-00940000 rw-p 004f3000 fe:00 42     /opt/my bin/ssh-agent", 0),
    entry("00940000-00950000 r--s 004f3000 fe:00 42     /opt/my bin/ssh-agent", 0),
    entry("7f0000000000-7f0000001000 r-xp 00000000 fe:00 43     /opt/my bin/ssh-agent.so", 0),
    entry("7f0000001000-7f0000002000 r-xp 00000000 00:00 0 ", 0),
    entry("7f0000002000-7f0000003000 r-xp 00000000 00:00 0 [vdso]", 0),
  ];
  t.deepEqual(unchangedMappings(others.join(""), "/opt/my bin/ssh-agent"), []);
  t.deepEqual(unchangedMappings("", "/opt/my bin/ssh-agent"), []);
});

test("the data of a process is a part of its memory, and grows with it", (t) => {
  if (process.platform !== "linux") return t.pass();
  const before = residentData();
  const more = Buffer.alloc(64 * 1024 * 1024, 1);
  const after = residentData();
  t.true(after - before > more.length / 2);
  t.true(after < process.memoryUsage.rss());
  const names = unchangedMappings(readFileSync("/proc/self/smaps", "latin1"), process.execPath);
  t.true(names.length > 0);
});
