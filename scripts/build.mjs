// Builds dist/: the two programs, the child process for PKCS#11, the worker thread for key files, and
// the library with its types.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { pkcs11Constants } from "./pkcs11-constants.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

// The output is made in a temporary folder and renamed, so that dist/ is always complete.
const staging = mkdtempSync(join(root, "dist-"));
chmodSync(staging, 0o755);
const common = {
  bundle: true,
  platform: "node",
  target: "node20.19",
  packages: "external",
  define: { "process.env.CARDAGENT_VERSION": JSON.stringify(version) },
  absWorkingDir: root,
  logLevel: "warning",
};

/** CommonJS starts a few milliseconds faster than an ES module. */
const program = {
  ...common,
  format: "cjs",
  minifySyntax: true,
  define: { ...common.define, "import.meta.url": "__filename" },
};

/** Forbids imports of packages: the program loads only add-ons, by openssh/add-ons.ts. */
const lean = {
  name: "lean",
  setup({ onResolve }) {
    onResolve({ filter: /^[^.]/ }, ({ path, kind, importer }) => {
      if (kind === "entry-point" || path.startsWith("node:")) return undefined;
      return { errors: [{ text: `${path} is loaded as a whole, by ${importer}` }] };
    });
  },
};

/**
 * The first lines of a program that is a shell script and JavaScript: its second line is a string and a
 * comment in JavaScript. The shell removes variables that would open a debugger or end Node.js with a
 * stack trace, refuses a limit of open files at which Node.js aborts, and runs `node`.
 */
function shellHead(name) {
  const variables =
    "NODE_OPTIONS NODE_EXTRA_CA_CERTS NODE_DEBUG NODE_DEBUG_NATIVE NODE_V8_COVERAGE";
  const refusal = `echo "${name}: too few files may be open at once; try: ulimit -n 64" >&2`;
  const checkLimit = `case $(ulimit -n) in ?|1?|2?) ${refusal}; exit 1;; esac`;
  const line = `":" //; unset ${variables}; ${checkLimit}; exec node "$0" "$@"`;
  return { banner: { js: `#!/bin/sh\n${line}` } };
}

/**
 * The agent's first line: it renames variables that affect Node.js; see agent/host/node-environment.ts.
 * A shell would drop variables such as bash's exported functions, which the `command` must get. Older
 * kernels read only 127 bytes. The second `env` is for pnpm, which takes the first word after -S for the
 * program.
 */
const agentHashbang = {
  banner: {
    js:
      "#!/usr/bin/env -S env -uNODE_OPTIONS -uNODE_EXTRA_CA_CERTS " +
      // biome-ignore lint/suspicious/noTemplateCurlyInString: for env
      '"_OPTIONS=${NODE_OPTIONS}" "_CERTS=${NODE_EXTRA_CA_CERTS}" node',
  },
};

try {
  await Promise.all([
    build({
      ...program,
      ...shellHead("ssh-add"),
      entryPoints: ["cli/main.ts"],
      outfile: join(staging, "bin/ssh-add"),
    }),
    build({
      ...program,
      ...agentHashbang,
      plugins: [lean],
      entryPoints: ["agent/main.ts"],
      outfile: join(staging, "bin/ssh-agent"),
    }),
    build({
      ...program,
      plugins: [pkcs11Constants, lean],
      entryPoints: ["agent/pkcs11/child/main.ts"],
      outfile: join(staging, "lib/pkcs11-child.js"),
    }),
    build({
      ...program,
      entryPoints: ["cli/files/passphrase-worker.ts"],
      outfile: join(staging, "lib/key-worker.js"),
    }),
    build({
      ...common,
      format: "esm",
      entryPoints: ["protocol/index.ts"],
      outfile: join(staging, "index.js"),
    }),
  ]);
  for (const folder of ["bin", "lib"]) {
    writeFileSync(join(staging, folder, "package.json"), '{ "type": "commonjs" }\n');
  }
  for (const name of ["ssh-add", "ssh-agent"]) chmodSync(join(staging, "bin", name), 0o755);
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const declarations = ["-p", join(root, "tsconfig.build.json"), "--outDir", staging];
  execFileSync(process.execPath, [tsc, ...declarations], { stdio: "inherit" });
  publish();
} finally {
  rmSync(staging, { recursive: true, force: true });
}

function publish() {
  const dist = join(root, "dist");
  const old = `${staging}.old`;
  mkdirSync(dist, { recursive: true });
  renameSync(dist, old);
  renameSync(staging, dist);
  rmSync(old, { recursive: true, force: true });
}
