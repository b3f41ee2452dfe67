/**
 * The certificates in a folder: `ssh-agent -O certificates=DIR`. Each is attached to its key as long as
 * its file is there.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { errorCode, strerror } from "../../openssh/strerror.ts";
import { asFailure } from "../../protocol/failure.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { Clock } from "../host/clock.ts";
import { type CertificateFile, readCertificateFile } from "./certificate-file.ts";
import { FolderWatch } from "./folder-watch.ts";

/** What the folder needs of the agent. */
export interface CertificateHolder {
  readonly isLocked: boolean;
  /** Attaches a certificate to its key. @throws {Failure} no-matching-key, if nobody has the key */
  attach(certificate: Buffer): void | Promise<void>;
  /** Removes a certificate that was attached. */
  detach(certificate: Buffer): void;
  /** Whether the agent has the certificate, or one that supersedes it. */
  has(certificate: Buffer): boolean;
  log(line: string): void;
}

/** A file that was read. */
interface KnownFile {
  /** Tells whether it has changed: device, inode, and time of the last change; or the error's code. */
  readonly version: string;
  /** Undefined for a file without a certificate, or one that is passed over. */
  readonly certificate: CertificateFile | undefined;
}

/** Milliseconds from a change to reading the folder: a writer makes several. */
const settling = 100;

/** Attaches the certificates of a folder, and follows its changes. */
export class CertificateFolder {
  readonly #path: string;
  readonly #holder: CertificateHolder;
  readonly #clock: Clock;
  readonly #watch: FolderWatch;
  #files = new Map<string, KnownFile>();
  /** Why the folder cannot be read; empty if it can, or is not there. */
  #problem = "";
  #willRead = false;
  #reading: Promise<void> = Promise.resolve();

  constructor(path: string, holder: CertificateHolder, clock: Clock) {
    this.#path = path;
    this.#holder = holder;
    this.#clock = clock;
    this.#watch = new FolderWatch(path, isCertificateName, () => this.#readSoon());
  }

  /** Reads the folder, now and after each change. A locked agent reads nothing; call this to catch up. */
  read(): Promise<void> {
    this.#reading = this.#reading.then(() => this.#read()).catch(() => undefined);
    return this.#reading;
  }

  /**
   * Attaches the certificates of keys that the agent has got, or whose newer certificate is gone.
   * @param keys blob IDs of plain keys
   * @returns a promise only if upstream agents have to be asked
   */
  keysAdded(keys: { has(id: string): boolean }): void | Promise<void> {
    const attaching: Promise<void>[] = [];
    for (const [name, { certificate }] of this.#files) {
      if (certificate === undefined || !keys.has(blobId(certificate.keyBlob))) continue;
      if (this.#holder.has(certificate.blob)) continue;
      const attached = this.#attach(name, certificate);
      if (attached !== undefined) attaching.push(attached);
    }
    if (attaching.length > 0) return Promise.all(attaching).then(() => undefined);
  }

  /** Stops following changes. */
  close(): void {
    this.#watch.close();
  }

  #readSoon(): void {
    if (this.#willRead) return;
    this.#willRead = true;
    this.#clock.after(settling, () => {
      this.#willRead = false;
      void this.read();
    });
  }

  async #read(): Promise<void> {
    if (this.#holder.isLocked) return;
    await this.#watch.follow();
    const files = new Map<string, KnownFile>();
    for (const name of await this.#names()) {
      const file = await this.#readFile(name);
      if (file !== undefined) files.set(name, file);
    }
    if (this.#holder.isLocked) return;
    const before = this.#files;
    this.#files = files;
    for (const [name, { certificate }] of files) {
      if (certificate === undefined || before.get(name)?.certificate === certificate) continue;
      if (!this.#holder.has(certificate.blob)) await this.#attach(name, certificate);
    }
    // Others may have been superseded by those.
    await this.keysAdded(this.#detachMissing(before));
  }

  /** Reads a file that has changed. @returns undefined if it is gone */
  async #readFile(name: string): Promise<KnownFile | undefined> {
    const path = join(this.#path, name);
    try {
      const { dev, ino, ctimeNs } = await stat(path, { bigint: true });
      const version = [dev, ino, ctimeNs].join();
      const known = this.#files.get(name);
      if (known?.version === version) return known;
      const content = await readCertificateFile(path);
      if (content.type === "refused") {
        this.#holder.log(`passed over ${path}: ${content.reason}`);
      }
      return { version, certificate: content.type === "certificate" ? content : undefined };
    } catch (error) {
      const version = errorCode(error) ?? "";
      if (version === "ENOENT") return undefined;
      if (this.#files.get(name)?.version !== version) {
        this.#holder.log(`passed over ${path}: ${strerror(error) ?? "unknown error"}`);
      }
      return { version, certificate: undefined };
    }
  }

  /** The names of files that may hold certificates, in order; none without a folder. */
  async #names(): Promise<string[]> {
    let problem = "";
    const names = await readdir(this.#path).catch((error: unknown) => {
      if (errorCode(error) !== "ENOENT") problem = strerror(error) ?? "unknown error";
      return [];
    });
    if (problem !== "" && problem !== this.#problem) {
      this.#holder.log(`cannot read ${this.#path}: ${problem}`);
    }
    this.#problem = problem;
    return names.filter(isCertificateName).sort();
  }

  #attach(name: string, { blob }: CertificateFile): void | Promise<void> {
    const refused = (error: unknown) => {
      const { code, message } = asFailure(error);
      if (code !== "no-matching-key") this.#holder.log(`did not attach ${name}: ${message}`);
    };
    try {
      return this.#holder.attach(blob)?.catch(refused);
    } catch (error) {
      return refused(error);
    }
  }

  /** Removes the certificates that no file holds any more. @returns the blob IDs of their keys */
  #detachMissing(before: ReadonlyMap<string, KnownFile>): Set<string> {
    const current = [...this.#files.values()].flatMap(({ certificate }) => certificate ?? []);
    const kept = new Set(current.map(({ blob }) => blobId(blob)));
    const keys = new Set<string>();
    for (const { certificate } of before.values()) {
      if (certificate === undefined || kept.has(blobId(certificate.blob))) continue;
      this.#holder.detach(certificate.blob);
      keys.add(blobId(certificate.keyBlob));
    }
    return keys;
  }
}

function isCertificateName(name: string): boolean {
  return name.endsWith(".pub");
}
