/** Why a library cannot be loaded or initialized, in words for its user. */
import { closeSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import { Failure } from "../../../protocol/failure.ts";
import { libraryFailed, returnValue } from "./cryptoki.ts";

/**
 * The failure of a library that cannot be loaded.
 * @param error the loader's, or one with a CKR_ value of C_GetFunctionList
 */
export function notAModule(path: string, error: unknown): Failure {
  const text = error instanceof Error ? error.message : "";
  const code = "not-a-pkcs11-module";
  if (returnValue(error) !== undefined) {
    return new Failure(code, `The library ${path} gives no PKCS#11 functions (${text}).`);
  }
  if (/C_GetFunctionList/.test(text)) {
    return new Failure(code, `The library ${path} has no C_GetFunctionList.`);
  }
  const { reason, hint } = explain(path, text.replace(/^Failed to load shared library: /, ""));
  return new Failure(code, `${path} cannot be loaded as a library: ${reason}.`, hint);
}

interface Explanation {
  readonly reason: string;
  readonly hint?: string;
}

/** @param words the loader's, of glibc or musl */
function explain(path: string, words: string): Explanation {
  const [own, other] = [buildOf(process.execPath), buildOf(path)];
  if (other === undefined) return { reason: "it is not a shared library" };
  if (own !== undefined && other !== own) {
    const hint = `Install the library's package for ${own}.`;
    return { reason: `it is built for ${other}, and this agent runs on ${own}`, hint };
  }
  const [, missing] =
    /^([^/:\s]+): cannot open shared object file: No such/.exec(words) ??
    /^Error loading shared library ([^/:\s]+): No such/.exec(words) ??
    [];
  if (missing !== undefined && /^(libc\.musl|ld-musl)/.test(missing)) {
    const hint =
      "Install the library's package for this system; libraries of Alpine Linux do not work here.";
    return { reason: "it is built for another C library, musl", hint };
  }
  if (missing !== undefined) {
    const hint = `Install the package that has ${missing}. This lists what the library needs, and what of it is not found: ldd ${path}`;
    return { reason: `it needs ${missing}, which is not found`, hint };
  }
  const [, version] = /version [`']([\w.]+)' not found/.exec(words) ?? [];
  if (version !== undefined) {
    const hint = "Install the library's package for this version of the system, or a newer system.";
    return { reason: `it is built for a newer system, one with ${version}`, hint };
  }
  const hint = `This lists what is missing: ldd -r ${path}`;
  return /undefined symbol|symbol not found/.test(words)
    ? { reason: words.replace(/\.$/, ""), hint }
    : { reason: words.replace(/\.$/, "") };
}

/** ELF's e_machine (System V ABI, chapter 4), by the word length. */
const machines: Readonly<Record<string, string>> = {
  "3 32": "32-bit x86",
  "62 64": "64-bit x86",
  "62 32": "x32",
  "40 32": "32-bit ARM",
  "183 64": "64-bit ARM",
  "243 64": "64-bit RISC-V",
  "21 64": "64-bit PowerPC",
  "22 64": "z/Architecture",
  "258 64": "64-bit LoongArch",
};

/** The kind of processor that a program or library is built for; undefined if it is neither. */
function buildOf(path: string): string | undefined {
  const start = Buffer.alloc(20);
  const file = openSync(path, "r");
  try {
    if (readSync(file, start) < start.length) return undefined;
  } finally {
    closeSync(file);
  }
  if (/^(feedface|feedfacf|cefaedfe|cffaedfe|cafebabe)/.test(start.toString("hex"))) return "macOS";
  if (start.toString("latin1", 0, 2) === "MZ") return "Windows";
  if (start.toString("latin1", 0, 4) !== "\x7fELF") return undefined;
  const bits = start[4] === 1 ? 32 : 64;
  const machine = start[5] === 2 ? start.readUInt16BE(18) : start.readUInt16LE(18);
  return machines[`${machine} ${bits}`] ?? `another processor (ELF machine ${machine})`;
}

/** What libraries need to start, by their file names. */
const startHints: readonly (readonly [RegExp, string])[] = [
  [
    /^lib(softokn3|nsspem)\b/,
    "This library of NSS needs parameters, which p11-kit gives it: name it in a module file with x-init-reserved: configdir='sql:FOLDER', and load p11-kit-proxy.so.",
  ],
  [
    /^(libopencryptoki|PKCS11_API)\b/,
    'Start its daemon, and be in its group: sudo systemctl enable --now pkcsslotd; sudo usermod -aG pkcs11 "$USER"',
  ],
  [
    /^libtpm2_pkcs11\b/,
    "Check that you are in the group tss, and that the TPM is there: /dev/tpmrm0",
  ],
  [
    /^libsofthsm2\b/,
    "Check that you may read its configuration, SOFTHSM2_CONF or ~/.config/softhsm2/softhsm2.conf, and the folder of its tokens.",
  ],
];

/** The failure of C_Initialize. @param error the library's */
export function notStarted(path: string, error: unknown): Failure {
  const sentence = `The library ${path} could not start`;
  const [, hint] = startHints.find(([name]) => name.test(basename(path))) ?? [];
  return libraryFailed(sentence, error, hint);
}
