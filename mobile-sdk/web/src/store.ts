import { StorageError } from "./errors.js";

/** What is kept of each kind, in the browser's IndexedDB. */
export interface Kept {
  /** Single things by name: who this device is, its keys, the clock. */
  things: unknown;
  /** Taps that wait for the server's word, by their id. */
  taps: unknown;
  /** Receipts that wait to be reported, by delivery and state. */
  receipts: unknown;
  /** Deliveries that were shown, and the newest revision of incidents. */
  seen: unknown;
}

export type Kind = keyof Kept;

const kinds: readonly Kind[] = ["things", "taps", "receipts", "seen"];
const version = 1;

/** What the disk has not done in so many milliseconds counts as failed. */
const patience = 5000;

/**
 * What outlives the page and the worker, and is common to them: either may be
 * ended at any moment, and the other goes on with what it left. Every method
 * fails with a {@link StorageError}, also when the browser does not answer: a
 * person who has tapped must not wait for a disk.
 */
export class Store {
  private database: Promise<IDBDatabase> | undefined;
  /** Until then nothing is tried, as something was given up: a time of performance.now. */
  private stuckUntil = 0;

  /** @param name - of the database; one for each server that a page talks to */
  constructor(readonly name = "tocsin") {}

  get(kind: Kind, key: string): Promise<unknown> {
    return this.run("read what is stored", kind, "readonly", (s) => s.get(key));
  }

  all(kind: Kind): Promise<unknown[]> {
    return this.run("read what is stored", kind, "readonly", (s) => s.getAll());
  }

  put(kind: Kind, key: string, value: unknown): Promise<void> {
    return this.run("store", kind, "readwrite", (s) => s.put(value, key)).then(() => undefined);
  }

  delete(kind: Kind, keys: IDBValidKey | IDBKeyRange | string[]): Promise<void> {
    return this.run("forget what is stored", kind, "readwrite", (s) => {
      for (const key of Array.isArray(keys) ? keys : [keys]) {
        s.delete(key);
      }
      return undefined;
    }).then(() => undefined);
  }

  /**
   * Changes one thing, and nobody else changes it between the reading and the
   * writing. `how` gets what is there, and returns what shall be; undefined
   * leaves it as it is. The promise has what `how` returned.
   */
  change<T>(kind: Kind, key: string, how: (old: unknown) => T | undefined): Promise<T | undefined> {
    return this.transact("store", [kind], "readwrite", (open, answer: (value: T | undefined) => void) => {
      const s = open(kind);
      const read = s.get(key);
      read.onsuccess = () => {
        const value = how(read.result);
        if (value !== undefined) {
          s.put(value, key);
        }
        answer(value);
      };
    });
  }

  /** Goes over everything of a kind, in one transaction: what `how` returns takes its place; undefined leaves it, null takes it away. */
  sweep(kind: Kind, how: (value: unknown) => unknown): Promise<void> {
    return this.transact("store", [kind], "readwrite", (open) => {
      const walk = open(kind).openCursor();
      walk.onsuccess = () => {
        const cursor = walk.result;
        if (!cursor) {
          return;
        }
        const value = how(cursor.value);
        if (value === null) {
          cursor.delete();
        } else if (value !== undefined) {
          cursor.update(value);
        }
        cursor.continue();
      };
    });
  }

  /**
   * Forgets everything but one thing, `except`, if `when` says so of another,
   * `key`; all of it in one transaction, so that what somebody stores meanwhile
   * is either seen or not touched. The promise has whether it was forgotten.
   */
  forget(key: string, when: (value: unknown) => boolean, except: string): Promise<boolean> {
    return this.transact("forget what is stored", kinds, "readwrite", (open, answer: (value: boolean) => void) => {
      const things = open("things");
      const read = things.get(key);
      read.onsuccess = () => {
        const yes = when(read.result);
        answer(yes);
        if (!yes) {
          return;
        }
        const keep = things.get(except);
        keep.onsuccess = () => {
          for (const kind of kinds) {
            open(kind).clear();
          }
          if (keep.result !== undefined) {
            things.put(keep.result, except);
          }
        };
      };
    });
  }

  /** Lets go of the database; the next call opens it again. */
  async close(): Promise<void> {
    const open = this.database;
    this.database = undefined;
    (await open?.catch(() => undefined))?.close();
  }

  private run<T>(what: string, kind: Kind, mode: IDBTransactionMode, ask: (s: IDBObjectStore) => IDBRequest<T> | undefined): Promise<T> {
    return this.transact(what, [kind], mode, (open, answer: (value: T) => void) => {
      const request = ask(open(kind));
      if (request) {
        request.onsuccess = () => {
          answer(request.result);
        };
      }
    });
  }

  /** Resolves when the transaction is on the disk, with what `work` answered. */
  private async transact<T>(
    what: string,
    kinds: readonly Kind[],
    mode: IDBTransactionMode,
    work: (open: (kind: Kind) => IDBObjectStore, answer: (value: T) => void) => void,
  ): Promise<T> {
    try {
      return await this.inTime(() => this.attempt(kinds, mode, work));
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "InvalidStateError")) {
        throw new StorageError(what, error);
      }
    }
    try {
      await this.close(); // the browser had closed it under us; once more
      return await this.inTime(() => this.attempt(kinds, mode, work));
    } catch (error) {
      throw new StorageError(what, error);
    }
  }

  /** What is given up may still be done later, as what is asked of a server may. */
  private inTime<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        reject(new DOMException("the browser's storage does not answer", "TimeoutError"));
      };
      if (performance.now() < this.stuckUntil) {
        giveUp();
        return;
      }
      const timer = setTimeout(() => {
        this.stuckUntil = performance.now() + patience;
        void this.close(); // the next one that is tried opens it anew
        giveUp();
      }, patience);
      const end = () => {
        clearTimeout(timer);
        this.stuckUntil = 0;
      };
      void work().then(resolve, reject).finally(end);
    });
  }

  private async attempt<T>(
    kinds: readonly Kind[],
    mode: IDBTransactionMode,
    work: (open: (kind: Kind) => IDBObjectStore, answer: (value: T) => void) => void,
  ): Promise<T> {
    const database = await (this.database ??= this.open());
    return new Promise<T>((resolve, reject) => {
      // A tap that is only in memory is lost with the battery.
      const transaction = database.transaction(kinds, mode, { durability: kinds.includes("taps") ? "strict" : "default" });
      let value: T;
      transaction.oncomplete = () => {
        resolve(value);
      };
      transaction.onabort = () => {
        reject(transaction.error ?? new DOMException("the transaction was aborted", "AbortError"));
      };
      work(
        (kind) => transaction.objectStore(kind),
        (answer) => {
          value = answer;
        },
      );
    });
  }

  private open(): Promise<IDBDatabase> {
    const opened = new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(this.name, version);
      request.onupgradeneeded = () => {
        for (const kind of kinds) {
          request.result.createObjectStore(kind);
        }
      };
      request.onsuccess = () => {
        const database = request.result;
        const forget = () => {
          this.database = undefined;
        };
        database.onclose = forget;
        database.onversionchange = () => {
          database.close(); // a newer version of the app wants it
          forget();
        };
        resolve(database);
      };
      request.onerror = () => {
        reject(request.error ?? new DOMException("the database does not open", "UnknownError"));
      };
      request.onblocked = () => {
        reject(new DOMException("another tab holds an older version open", "VersionError"));
      };
    });
    opened.catch(() => {
      this.database = undefined; // the next call tries again
    });
    return opened;
  }
}
