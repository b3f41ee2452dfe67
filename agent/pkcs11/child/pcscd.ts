/** pcscd, by which libraries reach cards in readers. */
import { existsSync, readFileSync } from "node:fs";

/** Starts pcscd, as a hint. */
export const startPcscd =
  "Start pcscd, by which the library reaches cards: sudo systemctl enable --now pcscd.socket";

/** Whether the library needs pcscd, for cards in readers, and no pcscd runs. */
export function lacksPcscd(): boolean {
  if (existsSync(process.env.PCSCLITE_CSOCK_NAME ?? "/run/pcscd/pcscd.comm")) return false;
  try {
    return readFileSync("/proc/self/maps", "utf8").includes("/libpcsclite.so");
  } catch {
    return false;
  }
}
