// Makes release/: cardagent-VERSION-linux-x64.tar.gz, cardagent_VERSION_amd64.deb, the SBOM and
// SHA256SUMS. The programs inside run without Node.js; docs/ARCHITECTURE.md tells by what.
//
//   npm run release            all of it
//   npm run release -- --tree  only the unpacked folder, whose bin/ has the programs
//
// The output depends on nothing but the source, the packages of the two lock files and SOURCE_DATE_EPOCH,
// which is the time of the last commit if it is not set.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { buildPrograms } from "./release/executables.mjs";
import { hash, root, run } from "./release/files.mjs";
import { bundledPackages, writeLicences, writeSbom } from "./release/notices.mjs";
import { debianPackage, tarball } from "./release/packages.mjs";
import { copyShared } from "./release/shared.mjs";

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const commitTime = () =>
  execFileSync("git", ["log", "-1", "--format=%ct"], { cwd: root, encoding: "utf8" }).trim();
const epoch = process.env.SOURCE_DATE_EPOCH ?? commitTime();

const output = join(root, "release");
const work = join(output, "work");
rmSync(output, { recursive: true, force: true });

/** What is installed, in the same folders as in the tarball and in /usr/lib/cardagent. */
const tree = join(output, `cardagent-${version}-linux-x64`);
mkdirSync(tree, { recursive: true });

const runtimes = installRuntimes();
const sources = await buildPrograms({ version, work, tree, runtimes });
const packages = bundledPackages(sources, runtimes);
const sbom = join(output, `cardagent-${version}.cdx.json`);
writeSbom(sbom, { version, epoch, packages });
copyShared(tree);
const doc = join(tree, "share/doc/cardagent");
writeLicences(doc, packages);
run("cp", sbom, join(doc, "sbom.cdx.json"));

if (!process.argv.includes("--tree")) pack();
rmSync(work, { recursive: true });
run("ls", "-l", output);

function pack() {
  const files = [
    tarball(tree, { output, epoch }),
    debianPackage(tree, { output, work, version, epoch }),
    sbom,
  ];
  const sums = files.map((file) => `${hash("sha256", file)}  ${basename(file)}\n`);
  writeFileSync(join(output, "SHA256SUMS"), sums.sort().join(""));
}

/** Downloads the runtimes once; npm checks the integrity in their lock file. */
function installRuntimes() {
  const folder = join(root, "node_modules/.cache/release");
  const lock = join(root, "scripts/release/runtimes/package-lock.json");
  const installed = join(folder, "installed.json");
  const isCurrent = () => {
    try {
      return readFileSync(installed, "utf8") === readFileSync(lock, "utf8");
    } catch {
      return false;
    }
  };
  if (!isCurrent()) {
    mkdirSync(folder, { recursive: true });
    run("cp", join(root, "scripts/release/runtimes/package.json"), lock, folder);
    run("npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder);
    run("cp", lock, installed);
  }
  return join(folder, "node_modules");
}
