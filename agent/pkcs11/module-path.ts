/** Where the system keeps its PKCS#11 libraries: the module-name of a URI (RFC 7512, section 2.4). */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../protocol/failure.ts";

/** p11-kit's library, which shows the tokens of all libraries that p11-kit knows. */
const defaultModule = "p11-kit-proxy";

/** Debian's names for Node.js's architectures. */
const debianMachines: Readonly<Record<string, string>> = {
  x64: "x86_64-linux-gnu",
  ia32: "i386-linux-gnu",
  arm64: "aarch64-linux-gnu",
  arm: "arm-linux-gnueabihf",
  loong64: "loongarch64-linux-gnu",
  ppc64: "powerpc64le-linux-gnu",
  riscv64: "riscv64-linux-gnu",
  s390x: "s390x-linux-gnu",
};

/** The folders where Linux distributions put PKCS#11 libraries, the most specific first. */
export function moduleFolders(machine: string = process.arch): readonly string[] {
  const debian = debianMachines[machine];
  return [
    ...(debian === undefined ? [] : [`/usr/lib/${debian}/pkcs11`, `/usr/lib/${debian}`]),
    "/usr/lib64/pkcs11",
    "/usr/lib64",
    "/usr/lib/pkcs11",
    "/usr/lib",
    "/usr/lib/softhsm",
    "/usr/local/lib/pkcs11",
    "/usr/local/lib",
  ];
}

/**
 * Finds a PKCS#11 library by its name without the prefix "lib" and the suffix; case is ignored. In
 * each folder it is NAME.so, libNAME.so or NAME-pkcs11.so.
 * @param name by default p11-kit's library, which shows the tokens of all others
 * @param folders absolute paths, in order of precedence
 * @returns the library's absolute path, which may be a symbolic link
 * @throws {Failure} no-such-file
 */
export async function findModule(
  name: string = defaultModule,
  folders: readonly string[] = moduleFolders(),
): Promise<string> {
  const candidates = [`${name}.so`, `lib${name}.so`, `${name}-pkcs11.so`];
  for (const folder of folders) {
    // A missing or unreadable folder has no libraries.
    const files = await readdir(folder).catch(() => []);
    for (const file of candidates.flatMap((candidate) => spellings(files, candidate))) {
      const path = join(folder, file);
      if (await isFile(path)) return path;
    }
  }
  throw notFound(name);
}

/** The files with this name in any case, the exact match first. */
function spellings(files: readonly string[], name: string): string[] {
  const folded = name.toLowerCase();
  const others = files.filter((file) => file !== name && file.toLowerCase() === folded);
  return files.includes(name) ? [name, ...others] : others;
}

async function isFile(path: string): Promise<boolean> {
  const status = await stat(path).catch(() => undefined);
  return status?.isFile() ?? false;
}

function notFound(name: string): Failure {
  const sentence = `The system has no PKCS#11 library with the name ${JSON.stringify(name)}.`;
  const hint =
    name === defaultModule
      ? "Install p11-kit, or name a library in the URI: ?module-path=/usr/lib/LIBRARY.so"
      : 'Leave out "lib" and ".so", or name the library by its path: ?module-path=/usr/lib/LIBRARY.so';
  return new Failure("no-such-file", sentence, hint);
}
