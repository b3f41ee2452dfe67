/** `ssh-add -l` and `ssh-add -L`. */
import { brokenPipeStatus } from "../../openssh/exit.ts";
import { sleepSync } from "../../openssh/sleep-sync.ts";
import { sanitizeForDisplay } from "../../openssh/text-for-display.ts";
import { fingerprint } from "../../protocol/fingerprint.ts";
import { FrameReader } from "../../protocol/framing.ts";
import { decodeReply, type Identity } from "../../protocol/replies.ts";
import { frameRequest } from "../../protocol/requests.ts";
import { encodeText } from "../../protocol/text.ts";
import { Writer } from "../../protocol/wire.ts";
import { describe, noIdentities, publicKeyLine, summary } from "../identities.ts";
import { connectTo, isatty, readMessage, SystemError, writeAll, writeSome } from "./libc.ts";

const again = 11; // EAGAIN
const brokenPipe = 32; // EPIPE

/**
 * Prints the list. @returns the exit status
 * @throws if the agent cannot be asked or does not list; then nothing was printed
 */
export function listQuickly(asPublicKeys: boolean): number {
  const descriptor = connectTo(process.env.SSH_AUTH_SOCK ?? "");
  writeAll(descriptor, frameRequest({ type: "request-identities" }));
  // The first run of code is the slowest: it is done while the agent works.
  const keyBlob = new Writer().text("ssh-ed25519").string(new Uint8Array(32)).finish();
  linesOf([{ keyBlob, comment: "" }], asPublicKeys);
  const message = readMessage(descriptor, new FrameReader());
  if (message === undefined) throw new Error("The agent closed the connection.");
  const reply = decodeReply(message);
  if (reply.type !== "identities") throw new Error("The agent refused.");
  print(encodeText(linesOf(reply.identities, asPublicKeys).join("")));
  return reply.identities.length === 0 ? 1 : 0;
}

function linesOf(identities: readonly Identity[], asPublicKeys: boolean): string[] {
  if (identities.length === 0) return [`${noIdentities}\n`];
  const display = isatty(1) ? sanitizeForDisplay : (line: string) => line;
  return identities.flatMap((identity) => {
    const described = describe(identity.keyBlob);
    if (described === undefined) return [];
    const line = asPublicKeys
      ? publicKeyLine(described, identity)
      : summary(described, fingerprint(described.keyBlob), identity.comment);
    return [`${display(line)}\n`];
  });
}

/** Writes to standard output, as long as that is possible. */
function print(output: Buffer): void {
  for (let rest = output; rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSome(1, rest));
    } catch (error) {
      const number = error instanceof SystemError ? error.number : undefined;
      if (number === brokenPipe) process.exit(brokenPipeStatus);
      if (number !== again) return;
      sleepSync(2); // the pipe is full
    }
  }
}
