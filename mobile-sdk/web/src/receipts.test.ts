import { expect, test } from "vitest";
import { waitAfter } from "./backoff.js";
import { isTemporary, refusal, unreachable } from "./errors.js";
import { isOver, nextBatch, type Batch, type KeptReceipt } from "./receipts.js";
import { vectors } from "../browser/vectors.js";

interface Step {
  at: number;
  do: "add" | "answer" | "no_answer" | "wake" | "online" | "killed" | "locked" | "unlocked";
  from?: number;
  to?: number;
  state?: string;
  status?: number;
  retry_after?: number;
  call: { count: number; first: string; last: string; receipt_key?: string } | null;
  kept: number;
  next: number;
}

const name = (k: KeptReceipt) => `${k.receipt.deliveryId ?? ""} ${k.receipt.state?.replace("STATE_", "") ?? ""}`;

/** Does by hand, with the rules of the library, what Receipts does with a disk, a clock and a network. */
class Reports {
  kept: KeptReceipt[] = [];
  flying: Batch | undefined;
  tries = 0;
  due = 0;
  locked = false;
  order = 0;

  step(s: Step) {
    const local = s.at * 1000;
    switch (s.do) {
      case "add":
        for (let i = s.from ?? 0; i <= Math.max(s.from ?? 0, s.to ?? 0); i++) {
          const deliveryId = `d${String(i)}`;
          const receipt = { deliveryId, state: `STATE_${s.state ?? ""}` as "STATE_RECEIVED" };
          const fresh = { receipt, key: deliveryId, at: local, order: this.order++ };
          if (!this.kept.some((k) => name(k) === name(fresh))) {
            this.kept.push(fresh);
          }
        }
        break;
      case "answer":
      case "no_answer": {
        const headers = new Headers(s.retry_after ? { "Retry-After": String(s.retry_after) } : {});
        const error = s.status === 200 ? undefined : s.status ? refusal(s.status, "", headers) : unreachable("");
        if (error && isTemporary(error)) {
          this.due = local + waitAfter(this.tries, error.retryAfter, () => 1);
        } else {
          this.kept = this.kept.filter((k) => !this.flying?.kept.includes(k));
          this.tries = 0;
          this.due = 0;
        }
        this.flying = undefined;
        break;
      }
      case "killed":
        this.flying = undefined;
        this.tries = 0;
        this.due = 0;
        break;
      case "online":
        this.due = 0;
        break;
      case "locked":
      case "unlocked":
        this.locked = s.do === "locked";
        break;
      case "wake":
        break;
    }
    this.kept = this.kept.filter((k) => !isOver(k, local));
    let call: Step["call"] = null;
    const batch = nextBatch(this.kept, !this.locked);
    if (batch && !this.flying && this.due <= local) {
      this.flying = batch;
      this.tries++;
      const [first] = batch.kept;
      const last = batch.kept.at(-1);
      call = {
        count: batch.kept.length,
        first: first ? name(first) : "",
        last: last ? name(last) : "",
        ...(batch.receiptKey ? { receipt_key: batch.receiptKey } : {}),
      };
    }
    return { call, kept: this.kept.length, next: this.kept.length > 0 && !this.flying ? this.due / 1000 : -1 };
  }
}

test.each(vectors<{ name: string; steps: Step[] }>("batches.json"))("$name", ({ steps }) => {
  const reports = new Reports();
  for (const s of steps) {
    expect({ at: s.at, do: s.do, ...reports.step(s) }).toEqual({ at: s.at, do: s.do, call: s.call, kept: s.kept, next: s.next });
  }
});
