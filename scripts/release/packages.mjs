// The tarball and the Debian package. Order, owners, modes and times of their files are fixed.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { root, run } from "./files.mjs";

/** Makes the tarball. @returns its path */
export function tarball(tree, { output, epoch }) {
  fixTimesAndModes(tree, epoch);
  const file = join(output, `${basename(tree)}.tar.gz`);
  const fixed = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"];
  const compress = "--use-compress-program=gzip --no-name -6";
  run("tar", "-C", dirname(tree), ...fixed, compress, "-cf", file, basename(tree));
  return file;
}

/** Makes the Debian package, from the same tree. @returns its path */
export function debianPackage(tree, { output, work, version, epoch }) {
  const folder = join(work, "deb");
  const doc = join(folder, "usr/share/doc/cardagent");
  const control = join(folder, "DEBIAN");
  for (const each of [dirname(doc), join(folder, "usr/lib"), control]) {
    mkdirSync(each, { recursive: true });
  }
  run("cp", "-a", tree, join(folder, "usr/lib/cardagent"));
  run("mv", join(folder, "usr/lib/cardagent/share/doc/cardagent"), doc);
  run("rmdir", join(folder, "usr/lib/cardagent/share/doc"));
  run("mv", join(doc, "licences.txt"), join(doc, "copyright"));
  run("cp", join(root, "scripts/release/README.Debian"), doc);
  const size = execFileSync("du", ["-sk", "--apparent-size", folder], { encoding: "utf8" });
  writeFileSync(join(control, "control"), controlFile(version, size.split("\t")[0]));
  writeFileSync(join(control, "md5sums"), checksums(folder));
  fixTimesAndModes(folder, epoch);
  const file = join(output, `cardagent_${version}_amd64.deb`);
  // One thread: the number of threads changes the output.
  const options = ["--root-owner-group", "-Zzstd", "-z9", "--threads-max=1"];
  execFileSync("dpkg-deb", [...options, "--build", folder, file], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, SOURCE_DATE_EPOCH: epoch },
  });
  return file;
}

/** The package's dependencies are those of the two runtimes, by the versions of their symbols. */
function controlFile(version, kilobytes) {
  const { description, homepage } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const [summary] = description.split(": ");
  return `${[
    "Package: cardagent",
    `Version: ${version}`,
    "Architecture: amd64",
    "Maintainer: The cardagent authors <cardagent@users.noreply.github.com>",
    `Installed-Size: ${kilobytes}`,
    "Depends: libatomic1, libc6 (>= 2.28), libgcc-s1, libstdc++6 (>= 6)",
    "Recommends: openssh-client",
    "Suggests: opensc-pkcs11 | softhsm2 | ykcs11",
    "Section: net",
    "Priority: optional",
    ...(homepage === undefined ? [] : [`Homepage: ${homepage}`]),
    `Description: ${summary}`,
    " An ssh-add and an ssh-agent in the place of OpenSSH's, for keys on PKCS#11",
    " tokens, and for certificates in front of any agent.",
    " .",
    " The programs are in /usr/lib/cardagent/bin, beside OpenSSH's: put it first in",
    " PATH to use them.",
  ].join("\n")}\n`;
}

function checksums(folder) {
  const script = "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum";
  return execFileSync("sh", ["-c", script], { cwd: folder, encoding: "utf8" });
}

function fixTimesAndModes(folder, epoch) {
  run("chmod", "-R", "u=rwX,go=rX", folder);
  run("find", folder, "-exec", "touch", "--no-dereference", `--date=@${epoch}`, "{}", "+");
}
