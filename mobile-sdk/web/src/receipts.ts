import type { Schemas } from "./api.js";
import type { App } from "./app.js";
import { waitAfter } from "./backoff.js";
import { isTemporary, StorageError, TocsinError, unreachable } from "./errors.js";
import { alone } from "./locks.js";
import { Rounds } from "./rounds.js";

/** What a device says about one push; the API's Receipt. */
export type Receipt = Schemas["Receipt"];

/** A receipt that the server has not answered yet. */
export interface KeptReceipt {
  receipt: Receipt;
  /** The page's own key, good for its receipts alone; "" for none. */
  key: string;
  /** When it was made, in Unix milliseconds by the device's clock, and which of those it was. */
  at: number;
  order: number;
}

/** One call that reports receipts. */
export interface Batch {
  /** "" when the device's credential is used. */
  receiptKey: string;
  kept: KeptReceipt[];
}

const path = "/v1/push/receipts";
const batchSize = 100;
const keptFor = 7 * 24 * 3_600_000;

/**
 * The next call out of those that wait; undefined for none. With a credential
 * they go together, oldest first. Without one a call has those of one page, by its own key.
 */
export function nextBatch(kept: readonly KeptReceipt[], hasCredential: boolean): Batch | undefined {
  const inOrder = [...kept].sort((a, b) => a.at - b.at || a.order - b.order);
  const [first] = inOrder;
  if (!first) {
    return undefined;
  }
  const own = hasCredential ? inOrder : inOrder.filter((k) => k.receipt.deliveryId === first.receipt.deliveryId);
  return { receiptKey: hasCredential ? "" : first.key, kept: own.slice(0, batchSize) };
}

/** Whether a receipt is too old to be of use. */
export function isOver(kept: KeptReceipt, local: number): boolean {
  return local - kept.at >= keptFor;
}

/**
 * The receipts of an app: kept until the server has answered each of them,
 * whatever it says. One call is under way at a time.
 */
export class Receipts {
  private readonly unstored = new Map<string, KeptReceipt>();
  private readonly rounds = new Rounds(() => this.round());
  private tries = 0;
  private due = 0;
  private count = 0;

  constructor(private readonly app: App) {}

  /** Keeps receipts for as long as it takes. The same state of the same delivery waits once. */
  async add(receipts: Receipt[], key: string): Promise<void> {
    for (const receipt of receipts) {
      const fresh: KeptReceipt = { receipt, key, at: this.app.clock.local(), order: this.count++ };
      try {
        await this.app.store.change("receipts", keyOf(fresh), (old) => (old === undefined ? fresh : undefined));
      } catch (error) {
        if (!(error instanceof StorageError)) {
          throw error;
        }
        this.unstored.set(keyOf(fresh), fresh); // on a full device it is reported all the same
      }
    }
  }

  /** Those that the server has not answered, in no order. What is over a week old is forgotten. */
  async list(): Promise<KeptReceipt[]> {
    const local = this.app.clock.local();
    const stored = ((await this.app.keep(this.app.store.all("receipts"))) ?? []) as KeptReceipt[];
    const all = [...stored, ...this.unstored.values()];
    const over = all.filter((k) => isOver(k, local));
    if (over.length > 0) {
      await this.forget(over);
    }
    return all.filter((k) => !isOver(k, local));
  }

  /** Tries at once what waits for another try: the network is back, or the app was started. */
  hurry(signal?: AbortSignal): Promise<void> {
    this.due = 0;
    return this.drive(signal);
  }

  /** Reports what waits, until nothing does or `signal` is aborted. */
  drive(signal?: AbortSignal): Promise<void> {
    return this.rounds.drive(signal);
  }

  private async round(): Promise<number | undefined> {
    if ((await this.list()).length === 0) {
      return undefined;
    }
    const wait = this.due - this.app.clock.local(); // a very long one was made before the clock was set
    if (wait > 0 && wait <= 600_000) {
      return wait;
    }
    return (await alone(`${this.app.store.name} receipts`, () => this.call())) ? 0 : 1000;
  }

  private async call(): Promise<void> {
    const batch = nextBatch(await this.list(), this.app.session !== undefined);
    if (!batch) {
      return;
    }
    this.tries++;
    try {
      await this.send(batch);
    } catch (error) {
      if (isTemporary(error)) {
        this.due = this.app.clock.local() + waitAfter(this.tries, error instanceof TocsinError ? error.retryAfter : 0);
        return;
      }
    }
    await this.forget(batch.kept); // answered, or never to be taken
    this.tries = 0;
    this.due = 0;
  }

  private async send(batch: Batch): Promise<void> {
    const receipts = batch.kept.map((k) => k.receipt);
    const answer = await this.app.api.send("post", path, {
      body: batch.receiptKey ? { receipts, receiptKey: batch.receiptKey } : { receipts },
      keepalive: receipts.length <= 20, // browsers let 64 KiB outlive a page
      ...(batch.receiptKey ? { credential: "" } : {}),
    });
    if (!Array.isArray((answer as Schemas["ReportReceiptsResponse"] | null)?.results)) {
      throw unreachable("what answered is not the server");
    }
  }

  private async forget(kept: KeptReceipt[]): Promise<void> {
    const keys = kept.map(keyOf);
    for (const key of keys) {
      this.unstored.delete(key);
    }
    await this.app.keep(this.app.store.delete("receipts", keys));
  }
}

/** A receipt counts once for each state of a delivery. */
function keyOf(k: KeptReceipt): string {
  return `${k.receipt.deliveryId} ${k.receipt.state}`;
}
