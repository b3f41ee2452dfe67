// Runs the unit tests, which need no programs or libraries of the system, no root and no build.
//
//   npm run test:unit                       all of them
//   npm run test:unit -- --match='*PIN*'    those whose titles match
//
// Unit tests are those that do not import fixtures/system-programs.ts, directly or indirectly. They are
// bundled first: otherwise, each process of ava would compile all its imports, which takes most of the
// time.
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

const folder = mkdtempSync(join(root, "dist-unit-"));
try {
  await build({ ...options, entryPoints: await unitTests(), outbase: root, outdir: folder });
  const config = join(folder, "ava.config.mjs");
  const { timeout, workerThreads } = ava;
  const bundled = { files: [`${basename(folder)}/**/*.test.js`], timeout, workerThreads };
  writeFileSync(config, `export default ${JSON.stringify(bundled)};\n`);
  const program = join(root, "node_modules/ava/entrypoints/cli.mjs");
  const args = [program, "--config", config, ...process.argv.slice(2)];
  process.exitCode = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" }).status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function unitTests() {
  const all = { ...options, entryPoints: ava.files, metafile: true, write: false, outdir: "all" };
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
