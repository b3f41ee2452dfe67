/** Imports between the rooms: docs/ARCHITECTURE.md, "The parts". */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Which other rooms each room may import. */
const allowed = {
  protocol: [],
  openssh: ["protocol"],
  agent: ["openssh", "protocol"],
  cli: ["openssh", "protocol"],
} as const;

/** The files of the rooms with their imports. */
const imports = new Map(
  Object.keys(allowed).flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => [join(room, name), importedBy(join(room, name))] as const),
  ),
);

function importedBy(file: string): string[] {
  const source = readFileSync(join(root, file), "utf8");
  const specifiers = source.matchAll(/^(?:import|export|\}).*"(\.[^"]+)";|import\("(\.[^"]+)"\)/gm);
  return [...specifiers].map(([, named, loaded]) =>
    relative(root, join(root, dirname(file), named ?? loaded ?? "")),
  );
}

/** Test files, which may import `fixtures/`. */
function isForTests(file: string): boolean {
  if (file === "cli/commands/test-keys.ts") return false;
  return /\.test\.ts$|\/test-|\/recorded\.ts$|arbitraries\.ts$/.test(file);
}

test("rooms import only the allowed rooms", (t) => {
  t.true(imports.size > 300);
  for (const [file, imported] of imports) {
    const room = file.split("/")[0] as keyof typeof allowed;
    const rooms: string[] = [room, ...allowed[room], ...(isForTests(file) ? ["fixtures"] : [])];
    const wrong = imported.filter((other) => !rooms.includes(other.split("/")[0] ?? ""));
    t.deepEqual(wrong, [], file);
    const testing = isForTests(file) ? [] : imported.filter(isForTests);
    t.deepEqual(testing, [], `${file} is not for tests`);
  }
});

test("there is no import cycle", (t) => {
  const seen = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    const start = way.indexOf(file);
    if (start >= 0) t.fail([...way.slice(start), file].join(" -> "));
    if (start >= 0 || seen.has(file)) return;
    for (const other of imports.get(file) ?? []) visit(other, [...way, file]);
    seen.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  t.true(seen.size >= imports.size);
});

test("agent/pkcs11 has at most eight levels of imports", (t) => {
  const isCounted = (file: string) => file.startsWith("agent/pkcs11/") && !isForTests(file);
  const level = (file: string): number =>
    1 + Math.max(0, ...(imports.get(file) ?? []).filter(isCounted).map(level));
  const counted = [...imports.keys()].filter(isCounted);
  t.true(counted.length > 20);
  for (const file of counted) t.true(level(file) <= 8, file);
});
