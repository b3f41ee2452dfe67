/** `ssh-add --write-public-keys FOLDER`: writes the agent's public keys, for IdentityFile. */
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  mkdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { errorCode } from "../../openssh/strerror.ts";
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { blobAlgorithm } from "../../protocol/public-key.ts";
import type { Identity } from "../../protocol/replies.ts";
import { explain, refusalText } from "../agent.ts";
import { errorText } from "../console.ts";
import type { Context } from "../context.ts";
import { readPublicKeyFile } from "../files/public-key-file.ts";
import { type NamedIdentity, nameFiles } from "../public-key-names.ts";

/** Larger files are no public keys. */
const maxFileSize = 1024 * 1024;

/** Writes a file for each identity. A file that is there stays; exit status 1 if it is another's. */
export async function writePublicKeys({ client, console, options }: Context): Promise<number> {
  const { folder } = options;
  let identities: readonly Identity[];
  try {
    identities = await client.identities();
  } catch (error) {
    console.note(`error fetching identities: ${refusalText(error)}`);
    return 1;
  }
  if (identities.length === 0) {
    console.print("The agent has no identities.");
    return 1;
  }
  let status = 0;
  try {
    makeFolder(folder);
    for (const identity of nameFiles(identities)) {
      const path = join(folder, identity.fileName);
      const outcome = write(folder, path, identity);
      const noun = identity.isCertificate ? "Certificate" : "Public key";
      if (outcome === "written" && !options.quiet) console.note(`${noun} written: ${path}`);
      if (outcome !== "different") continue;
      console.note(`${noun} not written: ${path} is another file`);
      status = 1;
    }
  } catch (error) {
    console.note(`Could not write to ${folder}: ${errorText(error)}`);
    return 1;
  }
  if (status !== 0) explain(console, "", "Move these files away, or name another folder.");
  return status;
}

/** Makes the folder, if only that is missing. @throws the system's error */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
  }
}

type Outcome = "written" | "same" | "different";

/**
 * Writes a file that is not there yet: whole, or not at all. The file has its contents before it gets
 * its name, and link(2) neither replaces a file nor follows a symbolic link.
 * @throws the system's error
 */
function write(folder: string, path: string, { keyBlob, comment }: NamedIdentity): Outcome {
  const line = `${blobAlgorithm(keyBlob)} ${keyBlob.toString("base64")} ${sanitizeName(comment)}`;
  const temporary = join(folder, `.${randomBytes(8).toString("hex")}`);
  writeFileSync(temporary, `${line.trimEnd()}\n`, { flag: "wx", mode: 0o644 });
  try {
    chmodSync(temporary, 0o644); // whatever the umask
    place(temporary, path);
    return "written";
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    return holds(path, keyBlob) ? "same" : "different";
  } finally {
    unlinkSync(temporary);
  }
}

/** Gives a file its name. @throws EEXIST, if there is a file or a symbolic link of that name */
function place(temporary: string, path: string): void {
  try {
    linkSync(temporary, path);
  } catch (error) {
    if (errorCode(error) === "EEXIST") throw error;
    copyFileSync(temporary, path, constants.COPYFILE_EXCL); // the file system has no hard links
  }
}

/** Whether a file holds this key or certificate; its comment does not matter. */
function holds(path: string, keyBlob: Buffer): boolean {
  try {
    const status = statSync(path);
    // Opening a fifo would block.
    if (!status.isFile() || status.size > maxFileSize) return false;
    return readPublicKeyFile(path).blob.equals(keyBlob);
  } catch {
    return false;
  }
}
