/** Watches a folder by the system's notifications (inotify), also one that does not exist yet. */
import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";

/** Tells when something in a folder may have changed. */
export class FolderWatch {
  readonly #path: string;
  readonly #isOfInterest: (name: string) => boolean;
  readonly #onChange: () => void;
  #watcher: FSWatcher | undefined;
  /** The folder that is watched, by device and inode. */
  #watched = "";

  /** @param isOfInterest whether changes of a file in the folder matter, by its name */
  constructor(path: string, isOfInterest: (name: string) => boolean, onChange: () => void) {
    this.#path = path;
    this.#isOfInterest = isOfInterest;
    this.#onChange = onChange;
  }

  /**
   * Watches the folder at the path, or its nearest ancestor: it may have been made, removed or replaced
   * since. Call this after each change, before the folder is read.
   */
  async follow(): Promise<void> {
    for (;;) {
      const { path, child, id } = await nearest(this.#path);
      if (id === this.#watched) return;
      this.close();
      const names = (name: string) => (child === undefined ? this.#concerns(name) : name === child);
      try {
        this.#watcher = watch(path, { persistent: false }, (_event, name) => {
          if (name === null || names(name)) this.#onChange();
        });
        this.#watcher.on("error", () => this.close());
        this.#watched = id;
      } catch {
        // It was removed meanwhile, or this user may not read it.
        if ((await nearest(this.#path)).id === id) return;
      }
    }
  }

  /** Whether a name in a notification is a file's of interest, or the folder's own. */
  #concerns(name: string): boolean {
    return this.#isOfInterest(name) || name === basename(this.#path);
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watched = "";
  }
}

/** A folder, or the nearest of its ancestors that exists. */
interface Nearest {
  readonly path: string;
  /** The next part of the way to the folder; undefined for the folder itself. */
  readonly child: string | undefined;
  /** Device and inode. */
  readonly id: string;
}

async function nearest(path: string, child?: string): Promise<Nearest> {
  try {
    const { dev, ino } = await stat(path);
    return { path, child, id: `${dev}:${ino}` };
  } catch {
    if (path === dirname(path)) return { path, child, id: "/" };
    return nearest(dirname(path), basename(path));
  }
}
