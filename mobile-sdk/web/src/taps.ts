import type { Schemas } from "./api.js";
import type { App } from "./app.js";
import { rest, waitAfter } from "./backoff.js";
import { isTemporary, TocsinError, unreachable, type Remedy } from "./errors.js";
import { alone } from "./locks.js";
import { Rounds } from "./rounds.js";

/** What a person can do about an incident with one tap. */
export type Verb = "acknowledge" | "resolve" | "escalate";

/**
 * How far a tap is. It is `done` only on the server's word.
 *
 * - `acting`: on its way. Show "acknowledging…".
 * - `unconfirmed`: nothing has confirmed it for 15 seconds; it goes on being tried. Say so, with a sound.
 * - `done`: the server has answered; `answer` is what is true.
 * - `refused`: the server said no; `problem` says why, and what to do.
 * - `given_up`: the server was not reached in time. Nothing was done, as far as anybody knows.
 */
export type TapState = "acting" | "unconfirmed" | "done" | "refused" | "given_up";

/** One tap, from the finger to the server's word. Kept in the browser's storage until then. */
export interface Tap {
  /** Made at the tap; every try has the same, so that it counts once. */
  id: string;
  /** What was tapped. */
  verb: Verb;
  /** The incident's id, "" where only its delivery is known. */
  incident: string;
  /** The delivery whose card was tapped; "" for a tap in the app. */
  delivery: string;
  /** When, in Unix milliseconds by the device's clock. */
  at: number;
  /** Until when it is tried, by the same clock. */
  until: number;
  /** How far it is. */
  state: TapState;
  /** Whether it survives the page and the worker; false when the device is full. */
  stored: boolean;
  /** What the server answered. */
  answer?: TapAnswer;
  /** What the last try failed of, or why it was refused. */
  problem?: TapProblem;
  /**
   * The card that was tapped; absent for a tap in the app.
   *
   * @internal
   */
  card?: TapCard;
  /**
   * Whose device it was tapped on, "devices/x"; "" where nobody was signed in.
   *
   * @internal
   */
  device: string;
  /**
   * The call that it makes.
   *
   * @internal
   */
  call: { path: string; body: Record<string, unknown>; token: string };
  /**
   * How often it was tried since the app was started.
   *
   * @internal
   */
  tries: number;
  /**
   * When it is tried next, by the device's clock.
   *
   * @internal
   */
  next: number;
}

/** A card on the screen, as far as it is needed to put another in its place. */
export interface TapCard {
  title: string;
  tag: string;
  /** As the push brought it. */
  data: unknown;
}

/** What is true, in the server's words. */
export interface TapAnswer {
  /** "STATE_ACKNOWLEDGED" */
  state: string;
  /** Of a tap on a card: "OUTCOME_DONE", "OUTCOME_ALREADY", "OUTCOME_RESOLVED"; "" of one in the app. */
  outcome: string;
  /** Who holds the incident now, by name: the first to acknowledge; "" for nobody, or when it is resolved. */
  holder: string;
  /** Of a tap on a card, whether that is the person here. */
  holderIsCaller: boolean;
  /** "#42" is called 42; "" where the answer does not say. */
  number: string;
  /** Whether to open the app: the incident has moved on to somebody else. */
  reopen: boolean;
}

/** Why a tap is not done. */
export interface TapProblem {
  remedy: Remedy;
  reason: string;
  message: string;
  requestId: string;
}

/** What somebody wants done. */
export interface Wish {
  verb: Verb;
  incident?: string;
  delivery?: string;
  /** The deadline of the page that was tapped, in Unix milliseconds by the device's clock. */
  deadline?: number | undefined;
  card?: TapCard;
  call: (id: string, at: string) => { path: string; body: Record<string, unknown>; token?: string };
}

/** After so many milliseconds without an answer the person is told aloud. */
const confirmWithin = 15_000;
/** For so many milliseconds a tap is tried after its page's deadline, and at least. */
const patience = 600_000;
/** How long the app can read what became of a tap: done, and otherwise. */
const doneFor = 60_000;
const undoneFor = 24 * 3_600_000;

/** A new tap on a device, "devices/x", at a time of its clock. */
export function newTap(wish: Wish, id: string, local: number, device = ""): Tap {
  const call = wish.call(id, new Date(local).toISOString());
  return {
    id,
    verb: wish.verb,
    incident: wish.incident ?? "",
    delivery: wish.delivery ?? "",
    at: local,
    until: Math.max(wish.deadline ?? 0, local) + patience,
    state: "acting",
    stored: true,
    ...(wish.card ? { card: wish.card } : {}),
    device,
    call: { path: call.path, body: call.body, token: call.token ?? "" },
    tries: 0,
    next: local,
  };
}

/** Whether the server has not had its word yet. */
export function isPending(tap: Tap): boolean {
  return tap.state === "acting" || tap.state === "unconfirmed";
}

/** Whether a call of the tap begins now: at least one is made, whatever the clock says. */
export function isDue(tap: Tap, local: number): boolean {
  return isPending(tap) && tap.next <= local && (tap.tries === 0 || local < tap.until);
}

/** What time makes of a tap; undefined for nothing. `flying` tells whether a call of it is under way. */
export function age(tap: Tap, local: number, flying: boolean): Tap | undefined {
  if (isPending(tap) && local >= tap.until && !flying) {
    return { ...tap, state: "given_up" };
  }
  return tap.state === "acting" && local >= tap.at + confirmWithin ? { ...tap, state: "unconfirmed" } : undefined;
}

/** When something is to be done about a tap, by the device's clock; Infinity for never. */
export function wakeAt(tap: Tap, flying: boolean): number {
  const alarm = tap.state === "acting" ? tap.at + confirmWithin : Infinity;
  return isPending(tap) ? Math.min(alarm, flying ? Infinity : Math.min(tap.next, tap.until)) : Infinity;
}

/** What becomes of a tap whose call has ended, with what the server answered or with an error. */
export function answered(tap: Tap, ended: { answer: unknown } | { error: unknown }, local: number, random?: () => number): Tap {
  const answer = "answer" in ended ? answerOf(ended.answer) : undefined;
  if (answer) {
    const { problem: _, ...rest } = tap;
    return { ...rest, state: "done", answer };
  }
  const error = "error" in ended && ended.error instanceof TocsinError ? ended.error : unreachable("what answered is not the server");
  const problem: TapProblem = { remedy: error.remedy, reason: error.reason, message: error.message, requestId: error.requestId };
  return isTemporary(error)
    ? { ...tap, problem, next: local + waitAfter(tap.tries, error.retryAfter, random) }
    : { ...tap, problem, state: "refused" };
}

/** The tap as it goes on when the app is started again; undefined for one that is settled. */
export function revived(tap: Tap, local: number): Tap | undefined {
  return isPending(tap) ? { ...tap, tries: 0, next: local } : undefined;
}

/** Reads what the server answers to an action, or the incident that it answers to a call; undefined for neither. */
function answerOf(read: unknown): TapAnswer | undefined {
  const a = (typeof read === "object" && read !== null ? read : {}) as Partial<Schemas["ActResponse"] & Schemas["Incident"]>;
  const state: unknown = a.state;
  if (typeof state !== "string" || !state.startsWith("STATE_") || state === "STATE_UNSPECIFIED") {
    return undefined;
  }
  return {
    state,
    outcome: a.outcome ?? "",
    holder: a.holder ?? a.acknowledgements?.[0]?.displayName ?? "",
    holderIsCaller: a.holderIsCaller ?? false,
    number: a.number ?? "",
    reopen: a.reopen ?? false,
  };
}

/**
 * The taps of an app: kept before they are sent, sent by whoever is there, page
 * or worker, and repeated with the same id until the server has its word.
 */
export class Taps {
  /** Those that storage did not take, by key: they live as long as this page. */
  private readonly unstored = new Map<string, Tap>();
  /** Those that are stored as they were last read, by key: a storage that does not answer loses none. */
  private known = new Map<string, Tap>();
  /** The keys of those whose call is under way from here. */
  private readonly flying = new Set<string>();
  /** By how much each one's time is ahead of how long this page has lived, by its id. */
  private readonly ahead = new Map<string, number>();
  private readonly rounds = new Rounds(() => this.round());

  /** @param changed - is told of each tap that has another state because of what was done here, before the others are; it does not fail */
  constructor(
    /** @internal */
    readonly app: App,
    private readonly changed: (tap: Tap) => Promise<void> = () => Promise.resolve(),
  ) {
    app.listen((news) => {
      if (news.type === "tap") {
        this.settledElsewhere(news.tap);
        this.rounds.wake();
      }
      if (news.type === "session" && this.unstored.size > 0) {
        void this.hurry(); // those of the person who was here have not gone with what was stored
      }
    });
  }

  /**
   * Takes in a tap, keeps it, and begins to send it. The promise does not wait
   * for the server. A second tap for the same while the first is not settled is
   * that first one.
   *
   * @internal
   */
  async tap(wish: Wish): Promise<Tap> {
    const fresh = newTap(wish, crypto.randomUUID(), this.app.clock.local(), this.app.session?.device);
    const key = keyOf(fresh);
    const merge = (old?: Tap): Tap => (old && isPending(old) && old.device === fresh.device ? old : fresh);
    const held = this.unstored.get(key);
    if (held && !isPending(held)) {
      this.unstored.delete(key);
    }
    const storing = () => this.app.keep(this.app.store.change("taps", key, (old) => merge(old as Tap | undefined)));
    let tap = this.unstored.has(key) ? undefined : await storing();
    if (tap) {
      this.known.set(key, tap);
    } else {
      tap = { ...merge(this.unstored.get(key)), stored: false }; // a double tap may have put the first there meanwhile
      this.unstored.set(key, tap);
    }
    this.app.tell({ type: "tap", tap });
    void (tap.id === fresh.id ? this.drive() : this.hurry()); // who taps again wants it tried now
    return tap;
  }

  /** All that are not settled, and what became of others lately; oldest first. */
  async list(): Promise<Tap[]> {
    return (await this.look()).taps;
  }

  /** All of them, and whether the storage has said so. */
  private async look(): Promise<{ taps: Tap[]; read: boolean }> {
    const stored = (await this.app.keep(this.app.store.all("taps"))) as Tap[] | undefined;
    if (stored) {
      this.known = new Map(stored.map((t) => [keyOf(t), t]));
    }
    const taps = [...new Map([...this.known, ...this.unstored]).values()].sort((a, b) => a.at - b.at);
    return { taps, read: stored !== undefined };
  }

  /** Forgets a tap that was refused or given up, once the person has seen it. */
  async dismiss(tap: Tap): Promise<void> {
    this.unstored.delete(keyOf(tap));
    this.known.delete(keyOf(tap));
    await this.app.keep(this.app.store.delete("taps", keyOf(tap)));
  }

  /** Waits until a tap is settled, or `signal` is aborted; either way the promise has the tap as it is then. */
  wait(tap: Tap, signal?: AbortSignal): Promise<Tap> {
    return new Promise((resolve) => {
      let latest = tap;
      const end = () => {
        stop();
        signal?.removeEventListener("abort", end);
        resolve(latest);
      };
      const see = (seen: Tap) => {
        if (seen.id === tap.id) {
          latest = seen;
          if (!isPending(seen)) {
            end();
          }
        }
      };
      const stop = this.app.listen((news) => {
        if (news.type === "tap") {
          see(news.tap);
        }
      });
      signal?.addEventListener("abort", end);
      if (signal?.aborted) {
        end();
        return;
      }
      void this.drive();
      void this.list().then((all) => {
        all.forEach(see); // it may have been settled before anybody listened
      });
    });
  }

  /**
   * Goes on with what was left when the app was ended, and forgets what is long settled. To be called once, when the app starts.
   *
   * @internal
   */
  async resume(): Promise<void> {
    const local = this.app.clock.local();
    const old = (t: Tap) => !isPending(t) && local - t.at > (t.state === "done" ? doneFor : undoneFor);
    await this.app.keep(this.app.store.sweep("taps", (value) => (old(value as Tap) ? null : revived(value as Tap, local))));
    await this.drive();
  }

  /**
   * Tries at once what waits for another try: the network is back.
   *
   * @internal
   */
  async hurry(): Promise<void> {
    for (const tap of (await this.list()).filter(isPending)) {
      await this.change(keyOf(tap), tap, (t) => ({ ...t, next: Math.min(t.next, this.timeFor(t)) }));
    }
    await this.drive();
  }

  /**
   * Sends what waits, until nothing does or `signal` is aborted.
   *
   * @internal
   */
  drive(signal?: AbortSignal): Promise<void> {
    return this.rounds.drive(signal);
  }

  private async round(): Promise<number | undefined> {
    const { taps, read } = await this.look();
    let soonest = read ? Infinity : 30_000; // what was stored before may wait, too
    for (const tap of taps.filter(isPending)) {
      const key = keyOf(tap);
      const local = this.timeFor(tap);
      if (!this.flying.has(key) && isDue(tap, local)) {
        this.flying.add(key);
        void this.fly(tap, key);
      }
      const flying = this.flying.has(key);
      const aged = age(tap, local, flying);
      if (aged && isPending(aged)) {
        await this.turn(key, aged);
      } else if (aged && !(await this.alone(key, () => this.turn(key, aged)))) {
        soonest = Math.min(soonest, 1000); // another page or the worker has a call of it under way, and may yet hear
        continue;
      }
      soonest = Math.min(soonest, wakeAt(aged ?? tap, flying) - local);
    }
    return soonest === Infinity && this.flying.size === 0 ? undefined : Math.min(Math.max(soonest, 20), 30_000);
  }

  /** Makes one call, unless another page or the worker makes it. */
  private async fly(tap: Tap, key: string): Promise<void> {
    try {
      const own = await this.alone(key, async () => {
        const tried = await this.change(key, tap, (t) => (t.id === tap.id && isPending(t) ? { ...t, tries: t.tries + 1 } : undefined));
        if (tried) {
          const ended = await this.send(tried).then(
            (answer) => ({ answer }),
            (error: unknown) => ({ error }),
          );
          await this.turn(key, answered(tried, ended, this.timeFor(tried)));
        }
      });
      if (!own) {
        await rest(1000); // who makes it tells of it
      }
    } finally {
      this.flying.delete(key);
      this.rounds.wake();
    }
  }

  /** Does something while no other page nor the worker makes a call of the tap; the promise has whether it could. */
  private alone(key: string, work: () => Promise<void>): Promise<boolean> {
    return alone(`${this.app.store.name} ${key}`, work);
  }

  /** What another page or the worker has settled is not gone on with from memory. */
  private settledElsewhere(tap: Tap): void {
    const held = this.unstored.get(keyOf(tap));
    if (held?.id === tap.id && isPending(held) && !isPending(tap)) {
      this.unstored.delete(keyOf(tap));
    }
  }

  /**
   * The time for a tap: that of the device's clock when it was first seen here,
   * and going on from there. Who sets the clock neither loses a tap nor holds it
   * up. The sleep of a computer may not count.
   */
  private timeFor(tap: Tap): number {
    const lived = performance.now();
    const ahead = this.ahead.get(tap.id) ?? this.app.clock.local() - lived;
    this.ahead.set(tap.id, ahead);
    return lived + ahead;
  }

  /** Keeps what became of a tap, and tells it if that is something else than before. */
  private async turn(key: string, tap: Tap): Promise<void> {
    const was = { there: false, same: false };
    const kept = await this.change(key, tap, (t) => {
      was.there = true;
      if (t.id !== tap.id || !isPending(t)) {
        return undefined; // somebody else has settled it, or it is another one
      }
      const state = tap.state === "acting" ? t.state : tap.state; // it may have become late meanwhile
      was.same = state === t.state;
      return { ...tap, state, stored: t.stored };
    });
    if (was.there && !kept) {
      return;
    }
    if (!isPending(tap)) {
      this.ahead.delete(tap.id);
    }
    const turned = kept ?? tap; // where it was forgotten, as the person was signed out, it is told all the same
    if (was.there && !was.same) {
      await this.changed(turned);
    }
    this.app.tell({ type: "tap", tap: turned });
  }

  private async send(tap: Tap): Promise<unknown> {
    const { path, body, token } = tap.call;
    const here = this.app.session?.device ?? "";
    const byToken = token !== "" && (tap.device === "" || tap.device !== here); // it is good for who tapped alone; with both, the server would take it
    if (!byToken && tap.device !== here) {
      if (this.app.unread) {
        throw unreachable("who is signed in here cannot be read");
      }
      throw new TocsinError("who tapped is not signed in here any more", { remedy: "sign_in", reason: "SIGNED_OUT" });
    }
    return this.app.api.send("post", path, {
      body: byToken ? { ...body, actionToken: token } : body,
      keepalive: true,
      ...(byToken ? { credential: "" } : {}),
    });
  }

  private async change(key: string, tap: Tap, how: (tap: Tap) => Tap | undefined): Promise<Tap | undefined> {
    const held = this.unstored.get(key);
    if (!held && tap.stored) {
      try {
        return await this.app.store.change("taps", key, (old) => (old === undefined ? undefined : how(old as Tap)));
      } catch {
        // The device has filled up since: what is stored stays as it was, and the tap goes on from here.
      }
    }
    const changed = how(held ?? tap);
    if (changed) {
      this.unstored.set(key, { ...changed, stored: false });
    }
    return changed;
  }
}

/** One tap for each thing that can be tapped: a second one finds the first. */
function keyOf(tap: Tap): string {
  return `${tap.verb} ${tap.delivery || tap.incident}`;
}
