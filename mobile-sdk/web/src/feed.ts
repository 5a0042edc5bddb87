import { silence } from "./api.js";
import type { Incident } from "./incidents.js";
import type { App } from "./app.js";
import { rest, waitAfter } from "./backoff.js";
import { isTemporary, TocsinError } from "./errors.js";
import { inTurn } from "./locks.js";
import { watchIncidents, type WatchFilter } from "./watch.js";

/** The open incidents, as they are known here. */
export interface FeedState {
  /** Newest first. Fields without a value may be left out. */
  incidents: readonly Incident[];
  /**
   * - `connecting`: nothing is known yet.
   * - `live`: what is here is what is true, but for moments.
   * - `offline`: the line is broken; what is here was true at `asOf`.
   * - `ended`: it cannot go on; `error` says why.
   */
  status: "connecting" | "live" | "offline" | "ended";
  /** When the server was last heard, in Unix milliseconds by its clock; 0 for never. */
  asOf: number;
  error?: TocsinError;
}

/** What the page that holds the line tells the others. */
type Word =
  | { type: "ask" }
  | { type: "all"; incidents: Incident[]; cursor: string; status: FeedState["status"]; asOf: number }
  | { type: "news"; incident?: Incident; cursor: string; status: FeedState["status"]; asOf: number };

const pageSize = 200;

/**
 * The open incidents that match, listed once and then kept up to date. However
 * many pages of the app are open, one of them holds the line to the server and
 * tells the others; when it is closed, another goes on where it was.
 */
export class IncidentFeed {
  private known = new Map<string, Incident>();
  private cursor = "";
  private current: FeedState = { incidents: [], status: "connecting", asOf: 0 };
  private readonly listeners = new Set<(state: FeedState) => void>();
  private running: AbortController | undefined;
  private channel: BroadcastChannel | undefined;
  /** What stops the line, while it is this page that holds it. */
  private leader: AbortSignal | undefined;
  /** The device whose incidents are known here. */
  private whose: string | undefined;
  private deaf: () => void = () => undefined;
  private quiet: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly app: App,
    private readonly filter: WatchFilter = {},
  ) {}

  get state(): FeedState {
    return this.current;
  }

  /** Tells of each new state until the returned function is called. The line is open while anybody listens. */
  listen(listener: (state: FeedState) => void): () => void {
    this.listeners.add(listener);
    this.forgetOthers();
    listener(this.current);
    if (!this.running) {
      this.deaf = this.app.listen((news) => {
        if (news.type === "session") {
          this.changeHands();
        }
      });
      this.start();
    }
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) {
        this.deaf();
        this.stop();
      }
    };
  }

  /** Somebody has signed in or out: what one person may see is nothing for the next. */
  private changeHands(): void {
    if (this.app.session?.device === this.whose) {
      return;
    }
    this.stop();
    const { error } = this.current;
    this.forgetOthers();
    if (this.whose === undefined) {
      this.publish({ ...this.current, status: "ended", ...(error ? { error } : {}) });
      this.running = new AbortController(); // it goes on when somebody has signed in
    } else {
      this.publish(this.current);
      this.start();
    }
  }

  private forgetOthers(): void {
    const device = this.app.session?.device;
    if (device !== this.whose) {
      this.whose = device;
      this.known = new Map();
      this.cursor = "";
      this.current = { incidents: [], status: "connecting", asOf: 0 };
    }
  }

  private start(): void {
    const running = new AbortController();
    this.running = running;
    const name = `${this.app.store.name} feed ${this.whose ?? ""} ${JSON.stringify(this.filter)}`;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (event: MessageEvent<Word>) => {
      this.hear(event.data);
    };
    inTurn(name, () => this.lead(running.signal), running.signal).catch(() => undefined); // it was stopped while it waited for the line
    this.say({ type: "ask" });
    this.heard();
  }

  private stop(): void {
    clearTimeout(this.quiet);
    this.running?.abort();
    this.running = undefined;
    this.channel?.close();
    this.channel = undefined;
  }

  /** The page that holds the line tells at least of each heartbeat, unless the browser has put it to sleep. */
  private heard(): void {
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => {
      if (!this.leader) {
        this.set("offline");
      }
    }, silence);
  }

  private async lead(signal: AbortSignal): Promise<void> {
    this.leader = signal;
    try {
      for (let failures = 1; !signal.aborted;) {
        try {
          if (this.cursor === "") {
            await this.list(signal);
          }
          failures = 1;
          await this.follow(signal);
        } catch (error) {
          if (isOver(signal)) {
            return;
          }
          const e = error instanceof TocsinError ? error : new TocsinError(String(error), { remedy: "fix", reason: "FEED" }, { cause: error });
          if (e.remedy === "relist") {
            this.cursor = "";
            await rest(waitAfter(1), signal); // whatever the server makes of the new cursor: not in a circle
          } else if (isTemporary(e)) {
            this.set("offline", e);
            await rest(waitAfter(failures++, e.retryAfter), signal);
          } else {
            this.set("ended", e);
            return;
          }
        }
      }
    } finally {
      if (this.leader === signal) {
        this.leader = undefined;
      }
    }
  }

  private async list(signal: AbortSignal): Promise<void> {
    const known = new Map<string, Incident>();
    let cursor = "";
    let pageToken = "";
    do {
      const page = await this.app.api.get("/v1/incidents", { query: { ...this.filter, pageSize, pageToken }, signal });
      cursor ||= page.watchCursor ?? "";
      for (const incident of page.incidents ?? []) {
        known.set(incident.name ?? "", incident);
      }
      pageToken = page.nextPageToken ?? "";
    } while (pageToken !== "");
    if (isOver(signal)) {
      return;
    }
    this.known = known;
    this.cursor = cursor;
    this.set("live");
    this.say(this.all());
  }

  private async follow(signal: AbortSignal): Promise<void> {
    for await (const event of watchIncidents(this.app.api, { ...this.filter, cursor: this.cursor, signal })) {
      if (isOver(signal)) {
        return;
      }
      switch (event.type) {
        case "waiting":
          this.set("offline", event.error);
          break;
        case "change":
          this.take(event.incident);
          this.cursor = event.cursor;
          this.set("live");
          this.say({ type: "news", incident: event.incident, cursor: this.cursor, status: "live", asOf: this.current.asOf });
          continue;
        case "heartbeat":
          this.cursor = event.cursor;
          this.set("live");
          break;
        case "live":
          continue;
      }
      this.say({ type: "news", cursor: this.cursor, status: this.current.status, asOf: this.current.asOf });
    }
  }

  /** A change may come twice, and late: the higher revision is the newer one. */
  private take(incident: Incident): void {
    const name = incident.name ?? "";
    const had = this.known.get(name);
    if (had && Number(incident.revision ?? 0) < Number(had.revision ?? 0)) {
      return;
    }
    if (this.matches(incident)) {
      this.known.set(name, incident);
    } else {
      this.known.delete(name);
    }
  }

  /** A watch also tells of an incident that ceases to match: it is not in the list any more. */
  private matches(incident: Incident): boolean {
    const { assignees } = this.filter;
    if (incident.state === "STATE_RESOLVED") {
      return false;
    }
    if (!assignees || assignees.length === 0) {
      return true;
    }
    const people = assignees.map((a) => (a === "users/me" ? (this.app.session?.user ?? a) : a));
    const theirs = [...(incident.assignees ?? []), ...(incident.acknowledgements ?? [])];
    return theirs.some((t) => people.includes(t.user ?? ""));
  }

  private set(status: FeedState["status"], error?: TocsinError): void {
    const incidents = [...this.known.values()].sort((a, b) => (b.createTime ?? "").localeCompare(a.createTime ?? ""));
    const asOf = status === "live" ? this.app.clock.now() : this.current.asOf;
    this.publish({ incidents, status, asOf, ...(error ? { error } : {}) });
  }

  private publish(state: FeedState): void {
    this.current = state;
    for (const listener of this.listeners) {
      listener(state);
    }
  }

  private hear(word: Word): void {
    if (word.type === "ask") {
      if (this.leader && this.current.status !== "connecting") {
        this.say(this.all());
      }
      return;
    }
    if (this.leader) {
      return; // the one before has not noticed yet
    }
    this.heard();
    if (word.type === "all") {
      this.known = new Map(word.incidents.map((i) => [i.name ?? "", i]));
    } else if (this.cursor === "") {
      return; // what changed means nothing without what it was
    } else if (word.incident) {
      this.take(word.incident);
    }
    this.cursor = word.cursor;
    this.set(word.status);
    this.current = { ...this.current, asOf: word.asOf };
  }

  private all(): Word {
    return { type: "all", incidents: [...this.known.values()], cursor: this.cursor, status: this.current.status, asOf: this.current.asOf };
  }

  private say(word: Word): void {
    this.channel?.postMessage(word);
  }
}

/** Whether it was stopped meanwhile. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}
