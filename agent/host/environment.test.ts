import { basename } from "node:path";
import test from "ava";
import fc from "fast-check";
import { bash, csh, tcsh, zsh } from "../../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { type Shell, setVariable } from "./environment.ts";

/** Paths that a shell would split, execute or expand, if they are not quoted. */
const unusualPaths = [
  "/tmp/a b",
  "/tmp/a  b   c ",
  " /tmp/a",
  "/tmp/tab\there",
  "/tmp/$(touch here)",
  "/tmp/`touch here`",
  "/tmp/$HOME",
  "/tmp/it's",
  '/tmp/"quoted"',
  "/tmp/a;touch here",
  "/tmp/a&touch here&",
  "/tmp/a|b>here<x",
  "/tmp/(a)#b",
  "/tmp/* ?",
  "/tmp/[ab]",
  "/tmp/{a,b}",
  "~/x",
  "-n",
  "/tmp/back\\slash\\n\\",
  "/tmp/bang!bang !! !$",
  "/tmp/^a^b",
  "/tmp/100%s%n",
  "/tmp/gr\u00fc\u00dfe \u{1f511}",
  "/tmp/no\u00a0break\u3000space",
  "/tmp/\u0001\u001b[31m\u007f\r",
  "=ls",
  "#x",
];

interface Evaluation {
  readonly program: string;
  readonly shell: Shell;
  readonly command: string;
}

/** How each shell evaluates the output: quoted, unquoted as many people type it, and from a file. */
const evaluations: readonly Evaluation[] = [
  ...["sh", "dash", bash(), zsh()].flatMap((program): Evaluation[] => [
    { program, shell: "sh", command: 'eval "$(cat text)"' },
    { program, shell: "sh", command: "eval $(cat text)" },
  ]),
  { program: bash(), shell: "sh", command: "shopt -s failglob; eval $(cat text)" },
  { program: bash(), shell: "sh", command: "shopt -s nullglob; eval $(cat text)" },
  ...[csh(), tcsh()].flatMap((program): Evaluation[] => [
    { program, shell: "csh", command: "eval `cat text`" },
    { program, shell: "csh", command: "source text" },
  ]),
];

/** The variables of a shell after it has evaluated the commands that set them. */
async function evaluate(
  workspace: Workspace,
  { program, shell, command }: Evaluation,
  values: readonly string[],
): Promise<string[]> {
  const names = values.map((_, at) => `X${at}`);
  const lines = values.map((value, at) => setVariable(shell, `X${at}`, value));
  workspace.write("text", lines.join(""));
  const options = shell === "csh" ? ["-f"] : [];
  const script = `${command}; env printenv -0 ${names.join(" ")}`;
  return (await workspace.expect(program, [...options, "-c", script])).split("\0").slice(0, -1);
}

for (const evaluation of evaluations) {
  test(`${basename(evaluation.program)} reads unusual paths: ${evaluation.command}`, async (t) => {
    const broken = ["/tmp/line\nbreak", "/tmp/at the end\n\n", "\n"];
    const paths = evaluation.shell === "sh" ? [...unusualPaths, ...broken] : unusualPaths;
    t.deepEqual(await evaluate(makeWorkspace(t), evaluation, paths), paths);
  });
}

test("shells read any path", async (t) => {
  const workspace = makeWorkspace(t);
  const special = fc.constantFrom(...` !$\`'"\\*?[]{}~^#;&|()<>\t%-ab/`);
  const character = fc.oneof(special, fc.string({ minLength: 1, maxLength: 1 }));
  const path = fc.string({ unit: character, minLength: 1, maxLength: 12 });
  const property = fc.asyncProperty(
    fc.array(path, { minLength: 1, maxLength: 30 }),
    fc.constantFrom(...evaluations),
    async (paths, evaluation) => {
      t.deepEqual(await evaluate(workspace, evaluation, paths), paths);
    },
  );
  await fc.assert(property, { numRuns: 30 });
});

test("common paths are printed as OpenSSH prints them", (t) => {
  const path = "/home/j.doe-2/.ssh/agent/s.AbC123.agent.0987_x";
  t.is(setVariable("sh", "SSH_AUTH_SOCK", path), `SSH_AUTH_SOCK=${path}; export SSH_AUTH_SOCK;\n`);
  t.is(setVariable("csh", "SSH_AUTH_SOCK", path), `setenv SSH_AUTH_SOCK ${path};\n`);
});

test("a path with blanks is in single quotes, which other programs understand", (t) => {
  t.is(setVariable("sh", "X", "/My Disk/$x"), "X='/My Disk/$x'; export X;\n");
  t.is(setVariable("csh", "X", "/My Disk/$x"), "setenv X '/My Disk/$x';\n");
});

test("for csh, a path with a line break is an error", (t) => {
  t.throws(() => setVariable("csh", "X", "/tmp/a\nb"), { message: /line break/ });
});
