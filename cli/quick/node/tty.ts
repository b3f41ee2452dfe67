/** In place of `node:tty`, which loads bun's streams. */
export { isatty } from "../libc.ts";
