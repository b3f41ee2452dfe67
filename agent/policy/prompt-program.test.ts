import { existsSync, readFileSync } from "node:fs";
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { isRunning } from "../../fixtures/processes.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { runPrompt } from "./prompt-program.ts";

/** A program that starts another one, writes the process IDs of both, and continues with these lines. */
function makeProgram(workspace: Workspace, before: string, ...after: string[]) {
  const file = workspace.path("pids");
  const numbers = [`echo $$ $! >${file}.new`, `mv ${file}.new ${file}`];
  const script = ["#!/bin/sh", before, "sleep 60 &", ...numbers, ...after].join("\n");
  const path = workspace.write("program", `${script}\n`, 0o700);
  const pids = () => (existsSync(file) ? readFileSync(file, "latin1").split(" ").map(Number) : []);
  return { path, pids };
}

/** Runs a program with a short text. By its HOME, the workspace finds it and ends it. */
function run(workspace: Workspace, path: string, signal: AbortSignal, text = "Touch") {
  return runPrompt(path, text, { ...process.env, HOME: workspace.home }, true, signal);
}

for (const [what, before, after] of [
  ["a script around another program", "", []],
  ["a program that does not mind SIGTERM", "trap '' TERM", []],
  ["a program that has closed its output", "", ["exec >&-"]],
] as const) {
  test(`${what} is ended together with its children`, async (t) => {
    const workspace = makeWorkspace(t);
    const program = makeProgram(workspace, before, ...after, "wait");
    const controller = new AbortController();
    const running = run(workspace, program.path, controller.signal);
    t.true(await eventually(() => program.pids().length === 2));
    controller.abort();
    t.is(await running, undefined);
    for (const pid of program.pids()) t.true(await eventually(() => !isRunning(pid)));
  });
}

test("children that hold a cancelled program's output open are not waited for", async (t) => {
  const workspace = makeWorkspace(t);
  const program = makeProgram(workspace, "");
  const controller = new AbortController();
  const running = run(workspace, program.path, controller.signal);
  t.true(await eventually(() => program.pids().length === 2 && !isRunning(program.pids()[0] ?? 0)));
  controller.abort();
  t.is(await running, undefined);
});

test("a program that is cancelled before it starts, or cannot be run, has no result", async (t) => {
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

test("a program's output is truncated", async (t) => {
  const workspace = makeWorkspace(t);
  const program = workspace.write("long", "#!/bin/sh\nhead -c 5000 /dev/zero\nexit 3\n", 0o700);
  const { signal } = new AbortController();
  const result = await run(workspace, program, signal);
  t.deepEqual(result, { status: 3, output: Buffer.alloc(1024) });
});
