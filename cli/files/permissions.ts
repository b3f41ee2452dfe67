/** Whether others could read a private key file. */
import { fstatSync } from "node:fs";
import type { Console } from "../console.ts";

const box = [
  "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
  "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @",
  "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
];

/**
 * Checks that an open file of this user is for this user alone, and says so if it is not. Files of
 * other users are not this user's to judge.
 */
export function isPrivateFile(descriptor: number, path: string, console: Console): boolean {
  const { uid, mode } = fstatSync(descriptor);
  if (uid !== process.getuid?.() || (mode & 0o077) === 0) return true;
  const permissions = (mode & 0o777).toString(8).padStart(4, "0");
  const lines = [
    ...box,
    `Permissions ${permissions} for '${path}' are too open.`,
    "It is required that your private key files are NOT accessible by others.",
    "This private key will be ignored.",
  ];
  for (const line of lines) console.log(line);
  return false;
}
