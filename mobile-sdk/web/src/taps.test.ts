import { describe, expect, test } from "vitest";
import { refusal, unreachable } from "./errors.js";
import { age, answered, isDue, isPending, newTap, revived, wakeAt, type Tap } from "./taps.js";
import { vectors } from "../browser/vectors.js";

interface Step {
  at: number;
  do: "tap" | "tap_full" | "answer" | "no_answer" | "wake" | "online" | "killed";
  action?: string;
  delivery?: string;
  verb?: string;
  deadline?: number;
  status?: number;
  retry_after?: number;
  sends: string[];
  shows: Record<string, string>;
  next: number;
}

/** A queue that does by hand, with the rules of the library, what Taps does with a disk, a clock and a network. */
class Queue {
  taps: Tap[] = [];
  flying = new Set<string>();
  made = 0;

  step(s: Step) {
    const local = s.at * 1000;
    switch (s.do) {
      case "tap":
      case "tap_full":
        if (!this.taps.some((t) => isPending(t) && t.delivery === s.delivery && t.verb === s.verb)) {
          const id = String.fromCharCode(65 + this.made++);
          const wish = {
            verb: s.verb as Tap["verb"],
            delivery: s.delivery ?? "",
            deadline: (s.deadline ?? 0) * 1000,
            call: () => ({ path: "", body: {} }),
          };
          this.taps.push({ ...newTap(wish, id, local), stored: s.do === "tap" });
        }
        break;
      case "answer":
      case "no_answer": {
        this.flying.delete(s.action ?? "");
        const headers = new Headers(s.retry_after ? { "Retry-After": String(s.retry_after) } : {});
        const ended =
          s.status === 200
            ? { answer: { state: "STATE_ACKNOWLEDGED" } }
            : { error: s.status ? refusal(s.status, "", headers) : unreachable("nobody answers") };
        this.taps = this.taps.map((t) => (t.id === s.action ? answered(t, ended, local, () => 1) : t));
        break;
      }
      case "killed":
        this.flying.clear();
        this.taps = this.taps.filter((t) => t.stored).flatMap((t) => revived(t, local) ?? []);
        break;
      case "online":
        this.taps = this.taps.map((t) => ({ ...t, next: Math.min(t.next, local) }));
        break;
      case "wake":
        break;
    }
    const sends: string[] = [];
    let next = Infinity;
    this.taps = this.taps.map((tap) => {
      let t = tap;
      if (!this.flying.has(t.id) && isDue(t, local)) {
        this.flying.add(t.id);
        sends.push(t.id);
        t = { ...t, tries: t.tries + 1 };
      }
      t = age(t, local, this.flying.has(t.id)) ?? t;
      next = Math.min(next, wakeAt(t, this.flying.has(t.id)));
      return t;
    });
    return { sends, shows: Object.fromEntries(this.taps.map((t) => [t.id, t.state])), next: next === Infinity ? -1 : next / 1000 };
  }
}

describe("the queue", () => {
  test.each(vectors<{ name: string; steps: Step[] }>("queue.json"))("$name", ({ steps }) => {
    const queue = new Queue();
    for (const s of steps) {
      expect({ at: s.at, do: s.do, ...queue.step(s) }).toEqual({ at: s.at, do: s.do, sends: s.sends, shows: s.shows, next: s.next });
    }
  });
});

test("a pause is between half of it and all", () => {
  const tap = newTap({ verb: "acknowledge", delivery: "d", call: () => ({ path: "", body: {} }) }, "A", 0);
  const pause = (tries: number, random: number) => answered({ ...tap, tries }, { error: unreachable("") }, 0, () => random).next;
  expect([1, 2, 3, 4, 5, 6, 7, 60].map((tries) => pause(tries, 1))).toEqual([1, 2, 4, 8, 16, 30, 30, 30].map((s) => s * 1000));
  expect(pause(3, 0)).toBe(2000);
});

describe("only the server's word makes a tap done", () => {
  const tap = newTap({ verb: "acknowledge", delivery: "d", call: () => ({ path: "", body: {} }) }, "A", 0);
  test.each([[null], [{}], ["ok"], [[]], [{ state: "" }], [{ state: "STATE_UNSPECIFIED" }], [{ state: 2 }], [{ status: "ok" }]])(
    "%j is no answer",
    (answer) => {
      expect(answered(tap, { answer }, 0).state).toBe("acting");
    },
  );

  test.each(vectors<{ name: string; status: number; answer: Record<string, unknown> }>("actions.json").filter((c) => c.status === 200))(
    "$name",
    ({ answer }) => {
      const done = answered(tap, { answer }, 0);
      expect(done.state).toBe("done");
      for (const field of ["state", "outcome", "holder", "holderIsCaller", "number", "reopen"] as const) {
        expect(done.answer?.[field]).toBe(answer[field]);
      }
    },
  );
});
