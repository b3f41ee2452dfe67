import { existsSync, readFileSync } from "node:fs";
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { isRunning } from "../../fixtures/processes.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { runPrompt } from "./prompt-program.ts";

/** A program that starts another one, writes both their numbers, and goes on with these lines. */
function makeProgram(workspace: Workspace, before: string, ...after: string[]) {
  const file = workspace.path("pids");
  const numbers = [`echo $$ $! >${file}.new`, `mv ${file}.new ${file}`];
  const script = ["#!/bin/sh", before, "sleep 60 &", ...numbers, ...after].join("\n");
  const path = workspace.write("program", `${script}\n`, 0o700);
  const pids = () => (existsSync(file) ? readFileSync(file, "latin1").split(" ").map(Number) : []);
  return { path, pids };
}

/** Runs a program with a short text; its HOME has it end with the workspace. */
function run(workspace: Workspace, path: string, taken: AbortSignal, text = "Touch") {
  return runPrompt(path, text, { ...process.env, HOME: workspace.home }, true, taken);
}

for (const [what, before, after] of [
  ["a script around another program", "", []],
  ["a program that does not mind SIGTERM", "trap '' TERM", []],
  ["a program that has closed its output", "", ["exec >&-"]],
] as const) {
  test(`${what} is ended with what it has started`, async (t) => {
    const workspace = makeWorkspace(t);
    const program = makeProgram(workspace, before, ...after, "wait");
    const taken = new AbortController();
    const running = run(workspace, program.path, taken.signal);
    t.true(await eventually(() => program.pids().length === 2));
    taken.abort();
    t.is(await running, undefined);
    for (const pid of program.pids()) t.true(await eventually(() => !isRunning(pid)));
  });
}

test("a program that has ended, but not those that hold its output, is not waited for", async (t) => {
  const workspace = makeWorkspace(t);
  const program = makeProgram(workspace, "");
  const taken = new AbortController();
  const running = run(workspace, program.path, taken.signal);
  t.true(await eventually(() => program.pids().length === 2 && !isRunning(program.pids()[0] ?? 0)));
  taken.abort();
  t.is(await running, undefined);
});

test("what is taken back before it has begun, or cannot be run, has no result", async (t) => {
  const workspace = makeWorkspace(t);
  const program = makeProgram(workspace, "", "wait");
  const { signal } = new AbortController();
  t.is(await run(workspace, program.path, AbortSignal.abort()), undefined);
  t.is(await run(workspace, program.path, signal, "x".repeat(200_000)), undefined);
  t.is(await run(workspace, program.path, signal, "a\0b"), undefined);
  for (const path of [workspace.path("nothing"), workspace.path("tmp")]) {
    t.is(await run(workspace, path, signal), undefined);
    t.is(await run(workspace, path, AbortSignal.abort()), undefined);
  }
});

test("what a program writes is read up to a length", async (t) => {
  const workspace = makeWorkspace(t);
  const program = workspace.write("long", "#!/bin/sh\nhead -c 5000 /dev/zero\nexit 3\n", 0o700);
  const { signal } = new AbortController();
  const result = await run(workspace, program, signal);
  t.deepEqual(result, { status: 3, output: Buffer.alloc(1024) });
});
