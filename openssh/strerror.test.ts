import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { constants } from "node:os";
import test from "ava";
import { errorCode, strerror } from "./strerror.ts";

/** A system error as Node.js creates it. */
function systemError(code: keyof typeof constants.errno): Error {
  return Object.assign(new Error(code), { code, errno: -constants.errno[code] });
}

test("system errors have the C library's messages", (t) => {
  const words = {
    EACCES: "Permission denied",
    ECONNREFUSED: "Connection refused",
    ECONNRESET: "Connection reset by peer",
    EFBIG: "File too large",
    EINVAL: "Invalid argument",
    EIO: "Input/output error",
    EISDIR: "Is a directory",
    ELOOP: "Too many levels of symbolic links",
    EMFILE: "Too many open files",
    ENAMETOOLONG: "File name too long",
    ENOENT: "No such file or directory",
    ENOTDIR: "Not a directory",
    ENOTSOCK: "Socket operation on non-socket",
    ENXIO: "No such device or address",
    EPERM: "Operation not permitted",
    EPIPE: "Broken pipe",
    EPROTOTYPE: "Protocol wrong type for socket",
  } as const;
  for (const [code, text] of Object.entries(words) as [keyof typeof words, string][]) {
    t.is(strerror(systemError(code)), text, code);
  }
});

test("errors of real calls have them too", async (t) => {
  const file = t.throws(() => readFileSync("/")) as Error;
  t.deepEqual([strerror(file), errorCode(file)], ["Is a directory", "EISDIR"]);
  const socket = await new Promise<Error>((resolve) => {
    createConnection("/nowhere/socket").on("error", resolve);
  });
  t.deepEqual([strerror(socket), errorCode(socket)], ["No such file or directory", "ENOENT"]);
});

test("other errors have no message", (t) => {
  const runtime = t.throws(() => Buffer.alloc(-1)) as Error;
  t.deepEqual([strerror(runtime), errorCode(runtime)], [undefined, "ERR_OUT_OF_RANGE"]);
  for (const other of [new Error("no"), { errno: -2 }, undefined]) t.is(strerror(other), undefined);
});
