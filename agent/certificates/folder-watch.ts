/**
 * Watches a folder by the system's notifications (inotify). It need not exist yet, and it, the way to it
 * and its files may be links.
 */
import { type FSWatcher, watch } from "node:fs";
import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, isAbsolute, join } from "node:path";
import { errorCode } from "../../openssh/strerror.ts";

/** A folder that is watched. */
interface Watched {
  readonly watcher: FSWatcher;
  /** Device and inode; empty if the folder itself may have changed. */
  id: string;
}

/** Tells when something in a folder may have changed. */
export class FolderWatch {
  readonly #path: string;
  readonly #isOfInterest: (name: string) => boolean;
  readonly #onChange: () => void;
  readonly #home: string;
  readonly #watched = new Map<string, Watched>();
  /** The names that matter in each of these folders, besides those of interest in the folder itself. */
  #names: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  /** The folder's path without links; undefined if there is none. */
  #folder: string | undefined;

  /**
   * @param path absolute
   * @param isOfInterest whether changes of a file in the folder matter, by its name
   * @param home a folder that stays where it is; other files in it change all the time
   */
  constructor(
    path: string,
    isOfInterest: (name: string) => boolean,
    onChange: () => void,
    home: string = homedir(),
  ) {
    this.#path = path;
    this.#isOfInterest = isOfInterest;
    this.#onChange = onChange;
    this.#home = home;
  }

  /**
   * Watches the folder, the way to it, and the ways of the links in it. Call this after each change, before
   * the folder is read.
   */
  async follow(): Promise<void> {
    do await this.#look();
    while (await this.#watchAll()); // there may have been changes before they were watched
  }

  /** Notes the names that lead to the folder and its files. */
  async #look(): Promise<void> {
    const names = new Map<string, Set<string>>();
    const home = await realpath(this.#home).catch(() => this.#home);
    const note = async (path: string): Promise<string | undefined> => {
      const { end, lookups } = await lookUp(path, home);
      for (const { folder, name } of lookups) {
        names.set(folder, (names.get(folder) ?? new Set()).add(name));
      }
      return end;
    };
    this.#folder = await note(this.#path);
    if (this.#folder !== undefined) {
      names.set(this.#folder, names.get(this.#folder) ?? new Set());
      const entries = await readdir(this.#folder, { withFileTypes: true }).catch(() => []);
      const links = entries.filter((one) => one.isSymbolicLink() && this.#isOfInterest(one.name));
      for (const { name } of links) await note(join(this.#folder, name));
    }
    this.#names = names;
  }

  /** @returns whether a folder is watched that was not before */
  async #watchAll(): Promise<boolean> {
    let hasAdded = false;
    for (const path of this.#watched.keys()) if (!this.#names.has(path)) this.#unwatch(path);
    for (const path of this.#names.keys()) {
      const id = await idOf(path);
      if (id === this.#watched.get(path)?.id) continue;
      this.#unwatch(path);
      if (id !== undefined) hasAdded = this.#watch(path, id) || hasAdded;
    }
    return hasAdded;
  }

  #watch(path: string, id: string): boolean {
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => {
        const isSelf = name === null || name === basename(path);
        if (isSelf) watched.id = "";
        if (isSelf || this.#concerns(path, name)) this.#onChange();
      });
      const watched = { watcher, id };
      watcher.on("error", () => this.#unwatch(path));
      this.#watched.set(path, watched);
      return true;
    } catch {
      return false; // it was removed meanwhile, or this user may not read it
    }
  }

  #concerns(folder: string, name: string): boolean {
    const isFile = folder === this.#folder && this.#isOfInterest(name);
    return isFile || this.#names.get(folder)?.has(name) === true;
  }

  #unwatch(path: string): void {
    this.#watched.get(path)?.watcher.close();
    this.#watched.delete(path);
  }

  close(): void {
    for (const path of this.#watched.keys()) this.#unwatch(path);
  }
}

/** A name that is looked up in a folder on the way to a path. */
interface Lookup {
  /** Without links. */
  readonly folder: string;
  readonly name: string;
}

/** As many links as Linux follows. */
const maxLinks = 40;

/**
 * Looks a path up as the system does.
 * @param path absolute
 * @param home folders in it and above that are no links need not be watched by their names
 * @returns where it ends, without links; undefined if there is nothing
 */
async function lookUp(
  path: string,
  home: string,
): Promise<{ end: string | undefined; lookups: Lookup[] }> {
  const lookups: Lookup[] = [];
  const names = path.split("/");
  let folder = "/";
  let links = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === "" || name === ".") continue;
    const here = join(folder, name);
    if (name === "..") folder = here;
    else {
      const found = await readLink(here);
      const isAboveHome = `${home}/`.startsWith(folder === "/" ? folder : `${folder}/`);
      if (found !== "no link" || !isAboveHome) lookups.push({ folder, name });
      if (found === "nothing" || links === maxLinks) return { end: undefined, lookups };
      if (found === "no link") folder = here;
      else {
        links++;
        names.unshift(...found.target.split("/"));
        if (isAbsolute(found.target)) folder = "/";
      }
    }
  }
  return { end: folder, lookups };
}

async function readLink(path: string): Promise<{ target: string } | "no link" | "nothing"> {
  try {
    return { target: await readlink(path) };
  } catch (error) {
    return errorCode(error) === "EINVAL" ? "no link" : "nothing";
  }
}

/** Device and inode. */
async function idOf(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found && `${found.dev}:${found.ino}`;
}
