// Runs tests that are bundled first: otherwise, each process of ava would compile all its imports, which
// takes most of the time of a short test.
//
//   node scripts/test-bundled.mjs                       all tests
//   node scripts/test-bundled.mjs --unit                the unit tests: they need no programs or libraries
//                                                       of the system, no root and no build
//   node scripts/test-bundled.mjs cli/options.test.ts   the tests of one file
//
// Other options are ava's, such as --tap and --match='*PIN*'. Unit tests are those that do not import
// fixtures/system-programs.ts, directly or indirectly.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const { ava } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Replaces import.meta.url by the URL of the source file. */
const sourceUrls = {
  name: "source-urls",
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const url = JSON.stringify(pathToFileURL(path));
      const source = readFileSync(path, "utf8");
      return { loader: "ts", contents: source.replaceAll(/(?<!")import\.meta\.url/g, url) };
    });
  },
};

const options = {
  absWorkingDir: root,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  sourcemap: "linked",
  logLevel: "warning",
  plugins: [sourceUrls],
};

const words = process.argv.slice(2);
const isUnit = words.includes("--unit");
const files = words.filter((word) => word.endsWith(".ts"));
const avaOptions = words.filter((word) => word !== "--unit" && !files.includes(word));
const folder = mkdtempSync(join(root, "dist-test-"));
try {
  const asked = files.length > 0 ? files : ava.files;
  const entryPoints = isUnit ? await unitTests(asked) : asked;
  await build({ ...options, entryPoints, outbase: root, outdir: folder });
  const config = join(folder, "ava.config.mjs");
  const { timeout, workerThreads } = ava;
  const bundled = { files: [`${basename(folder)}/**/*.test.js`], timeout, workerThreads };
  writeFileSync(config, `export default ${JSON.stringify(bundled)};\n`);
  const program = join(root, "node_modules/ava/entrypoints/cli.mjs");
  const args = [program, "--config", config, ...avaOptions];
  process.exitCode = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" }).status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Those of some test files that need nothing of the system. */
async function unitTests(entryPoints) {
  const all = { ...options, entryPoints, metafile: true, write: false, outdir: "all" };
  const { inputs, outputs } = (await build(all)).metafile;
  const needsSystem = (file, seen = new Set()) => {
    if (file === "fixtures/system-programs.ts") return true;
    if (seen.has(file)) return false;
    seen.add(file);
    return inputs[file].imports.some(({ path, external }) => !external && needsSystem(path, seen));
  };
  const files = Object.values(outputs).flatMap(({ entryPoint = [] }) => entryPoint);
  return files.filter((file) => !needsSystem(file));
}
