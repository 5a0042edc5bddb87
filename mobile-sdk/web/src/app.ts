import { Api } from "./api.js";
import { rest, waitAfter } from "./backoff.js";
import { Clock } from "./clock.js";
import { StorageError, type TocsinError } from "./errors.js";
import { inTurnOrAfter } from "./locks.js";
import { cards } from "./screen.js";
import { Store } from "./store.js";
import type { Tap } from "./taps.js";

/** Who this browser is to its server, since it was enrolled. */
export interface Session {
  /** The server. No push and no link changes it. */
  origin: string;
  /** A secret. It lives until it is revoked. */
  credential: string;
  /** "devices/x" */
  device: string;
  /** "users/x" */
  user: string;
  /** The person's name for display. */
  userDisplayName: string;
  /** The name of the installation. */
  organization: string;
}

/** How an app is opened. A page and its worker have to give the same `name`. */
export interface AppOptions {
  /** The server, where it is not the one that the page came from. */
  origin?: string;
  /** The database that everything is kept in. Default: "tocsin". */
  name?: string;
  /** The version of your app, at most 32 characters: receipts and the device's record say it. */
  appVersion?: string;
  /** How long to wait for an answer, in milliseconds. Default: 10,000. */
  timeout?: number;
}

/** What happened in this page, in another one, or in the service worker. */
export type News =
  /** Signed in, signed out, or revoked: look at `session`. */
  | { type: "session" }
  /** A tap changed. */
  | { type: "tap"; tap: Tap }
  /** A push was shown: its incident has news. */
  | { type: "push"; kind: string; incident: string }
  /** The person tapped a notification, and wants to see this incident; "" for none. */
  | { type: "open"; incident: string }
  /** Storage refused something: the device is full. Nothing that follows survives the page. */
  | { type: "storage"; message: string };

const sessionKey = "session";
const clockKey = "clock";
const installKey = "install";

/**
 * What one browser is to one server: its session, its calls, and what it keeps.
 * A page opens one, and the service worker has its own; they share what is
 * stored, and tell each other the news.
 */
export class App {
  /** Calls in this device's name; calls as nobody while it is not enrolled. */
  readonly api: Api;
  /** The server's clock, as far as it is known. */
  readonly clock: Clock;
  /** Why nothing can be stored; undefined while it can. */
  storageProblem: StorageError | undefined;
  /**
   * Whether it could not be read yet who this browser is: nobody is signed out by a slow disk.
   *
   * @internal
   */
  unread = false;

  private readonly ended = new AbortController();
  private current: Session | undefined;
  private readonly listeners = new Set<(news: News) => void>();
  private readonly channel: BroadcastChannel;

  private constructor(
    /** @internal */
    readonly store: Store,
    /** @internal */
    readonly options: AppOptions,
    session: Session | undefined,
    offset: number,
  ) {
    this.current = session;
    this.clock = new Clock(offset, (learnt) => {
      void this.keep(store.put("things", clockKey, learnt));
    });
    const origin = session?.origin ?? options.origin;
    this.api = new Api({
      ...(origin === undefined ? {} : { origin }),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
      clock: this.clock,
      credential: () => this.current?.credential,
      refused: (error, credential) => {
        this.refused(error, credential);
      },
    });
    this.channel = new BroadcastChannel(store.name);
    this.channel.onmessage = (event: MessageEvent<News>) => {
      void this.hear(event.data);
    };
  }

  /** Opens the app. It does not fail when nothing can be stored: `storageProblem` says so. Who is signed in is told when it can be read. */
  static async open(options: AppOptions = {}): Promise<App> {
    const store = new Store(options.name);
    try {
      const [session, offset] = await Promise.all([store.get("things", sessionKey), store.get("things", clockKey)]);
      return new App(store, options, session as Session | undefined, typeof offset === "number" ? offset : 0);
    } catch (error) {
      const app = new App(store, options, undefined, 0);
      app.storageProblem = asStorageError(error);
      app.unread = true;
      void app.recover();
      return app;
    }
  }

  /** Who this browser is; undefined while it is not enrolled. */
  get session(): Session | undefined {
    return this.current;
  }

  /** Tells of news until the returned function is called. */
  listen(listener: (news: News) => void): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  /** Ends the app: it hears and tells nothing any more. */
  close(): void {
    this.ended.abort();
    this.listeners.clear();
    this.channel.close();
    void this.store.close();
  }

  /**
   * The UUID of this installation, made on first use; a new one when `anew` is
   * set. Fails when it cannot be stored.
   *
   * @internal
   */
  async installId(anew = false): Promise<string> {
    const fresh = crypto.randomUUID();
    return (await this.store.change("things", installKey, (old) => (typeof old === "string" && !anew ? old : fresh))) ?? fresh;
  }

  /**
   * Keeps who this browser is from now on.
   *
   * @internal
   */
  async signIn(session: Session): Promise<void> {
    await this.store.put("things", sessionKey, session);
    this.current = session;
    this.tell({ type: "session" });
  }

  /**
   * Forgets everything but the installation's id: credential, keys, taps,
   * receipts, cards on the screen, and the subscription to pushes. Nothing, when
   * somebody has signed in since: another page may have been faster.
   *
   * `first` is done before, in the same turn: no registration of this browser is
   * under way then, which could reach the server after it. Only one that takes
   * longer than five seconds is not waited for, as nobody shall stay signed in
   * because a push service does not answer. The promise has what `first` had.
   *
   * @internal
   */
  wipe<T>(first?: () => Promise<T>): Promise<T | undefined> {
    const gone = this.current?.credential;
    this.current = undefined;
    return inTurnOrAfter(`${this.store.name} pushes`, 5000, async () => {
      const done = await first?.();
      const is = (value: unknown) => (value as Session | undefined)?.credential === gone;
      const forgetting = this.store.forget(sessionKey, is, installKey);
      const forgotten = await forgetting.catch(() => true);
      if (!forgotten) {
        await this.refresh();
        return done;
      }
      this.current = undefined; // somebody may have read it meanwhile
      this.tell({ type: "session" });
      const registration = await registrationOf();
      if (registration) {
        // Each as well as it can: a browser that is off line may not end a subscription.
        await Promise.allSettled([closeCards(registration), unsubscribe(registration)]);
      }
      await forgetting; // what cannot be forgotten is said once the rest is done
      return done;
    });
  }

  /**
   * Tells listeners here, and those in other pages and the worker.
   *
   * @internal
   */
  tell(news: News): void {
    this.channel.postMessage(news);
    this.hand(news);
  }

  /**
   * Reads again who this browser is: another page may have signed in or out.
   *
   * @internal
   */
  async refresh(): Promise<Session | undefined> {
    this.current = (await this.store.get("things", sessionKey)) as Session | undefined;
    this.unread = false;
    return this.current;
  }

  /**
   * Whether somebody was signed in here who is not any more. One whose storage
   * was lost whole has not signed out; whom a disk does not let us know is there.
   *
   * @internal
   */
  async isLeft(): Promise<boolean> {
    const session = this.current ?? (await this.refresh());
    return !session && (await this.store.get("things", installKey)) !== undefined;
  }

  /**
   * Waits for something to be stored that can be done without; a failure is told, and goes no further.
   *
   * @internal
   */
  async keep<T>(storing: Promise<T>): Promise<T | undefined> {
    try {
      return await storing;
    } catch (error) {
      this.storageProblem = asStorageError(error);
      this.tell({ type: "storage", message: this.storageProblem.message });
      return undefined;
    }
  }

  private async hear(news: News): Promise<void> {
    if (news.type === "session") {
      await this.keep(this.refresh());
    }
    this.hand(news);
  }

  /** An app that fails at news must not keep a tap from being sent. */
  private hand(news: News): void {
    for (const listener of this.listeners) {
      try {
        listener(news);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** Goes on trying to read who this browser is. */
  private async recover(): Promise<void> {
    for (let tries = 1; this.unread && !this.ended.signal.aborted; tries++) {
      await rest(waitAfter(tries), this.ended.signal);
      try {
        await this.refresh();
        this.storageProblem = undefined;
        this.tell({ type: "session" });
      } catch {
        // The disk is still slow.
      }
    }
  }

  /** The server's word that the credential is gone is the end of the session. */
  private refused(error: TocsinError, credential: string): void {
    if (error.reason !== "CREDENTIAL_INVALID" || credential === "" || credential !== this.current?.credential) {
      return;
    }
    void this.keep(this.wipe());
  }
}

function asStorageError(error: unknown): StorageError {
  return error instanceof StorageError ? error : new StorageError("store", error);
}

async function closeCards(registration: ServiceWorkerRegistration): Promise<void> {
  for (const card of await cards(registration)) {
    card.close();
  }
}

/** Ends the browser's subscription to pushes. */
export async function unsubscribe(registration: ServiceWorkerRegistration): Promise<void> {
  const subscription = await registration.pushManager.getSubscription();
  await subscription?.unsubscribe();
}

/** The registration of the service worker, in a page and in the worker itself; undefined where there is none. */
export async function registrationOf(): Promise<ServiceWorkerRegistration | undefined> {
  if ("registration" in globalThis) {
    return (globalThis as unknown as { registration: ServiceWorkerRegistration }).registration;
  }
  // An insecure page has no service workers.
  const container = navigator.serviceWorker as ServiceWorkerContainer | undefined;
  return container?.getRegistration();
}
