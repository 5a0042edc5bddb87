import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type BrowserContext, type CDPSession, type Page } from "playwright-core";
import type { Client, Pushes } from "../src/index.js"; // with what is internal

import { Sandbox, type Pushed } from "./sandbox.js";
import { Site } from "./site.js";
import type { Order } from "./sw.js";

declare global {
  // What browser/page.ts puts there.
  var tocsin: typeof import("../src/index.js");
  var client: Client;
  var cards: typeof import("../src/screen.js").cards;
}

/** A notification on the screen. */
export interface Shown {
  title: string;
  body: string;
  tag: string;
  silent: boolean;
  actions: string[];
  data: Record<string, unknown>;
}

const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** One person's browser, with the app in it. */
export class Phone {
  private context!: BrowserContext;
  private cdp!: CDPSession;
  private registration = "";
  page!: Page;
  /** Whose it is, without "users/". */
  user = "";
  /** When each push was handed to the browser, by its delivery. */
  readonly delivered = new Map<string, number>();
  /** Pushes are kept back while it is set: the phone is off the net. */
  offline = false;
  private readonly ended = new AbortController();
  private pump: Promise<void> | undefined;

  private constructor(
    readonly name: string,
    readonly sandbox: Sandbox,
    readonly site: Site,
    private readonly profile: string,
  ) {}

  static async start(name: string, sandbox: Sandbox): Promise<Phone> {
    const site = await Site.start(name, sandbox);
    const phone = new Phone(name, sandbox, site, await mkdtemp(join(tmpdir(), "tocsin-web-")));
    await phone.open();
    phone.pump = phone.carry();
    return phone;
  }

  /** Starts the browser, with what it kept; on a full disk, when that is set. */
  async open(full = false): Promise<void> {
    this.context = await chromium.launchPersistentContext(this.profile, {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: flags,
      viewport: { width: 390, height: 844 },
      deviceScaleFactor: 2,
    });
    await this.context.grantPermissions(["notifications"], { origin: this.site.origin });
    this.page = await this.context.newPage();
    this.cdp = await this.context.newCDPSession(this.page);
    if (full) {
      // The browser asks how much room there is when it opens a database, and not at each write.
      await this.cdp.send("Storage.overrideQuotaForOrigin", { origin: this.site.origin, quotaSize: 1 });
    }
    await this.back();
    this.cdp.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      for (const r of registrations) {
        this.registration = r.isDeleted ? this.registration : r.registrationId;
      }
    });
    await this.cdp.send("ServiceWorker.enable");
  }

  /** Opens another page of the app; `first` runs in it before anything else. */
  async another(first?: () => void): Promise<Page> {
    const page = await this.context.newPage();
    if (first) {
      await page.addInitScript(first);
    }
    await this.goto(page);
    return page;
  }

  /** Ends the browser as a crash does. */
  async kill(): Promise<void> {
    const session = await this.context.browser()?.newBrowserCDPSession();
    const gone = new Promise<void>((resolve) => {
      this.context.on("close", () => {
        resolve();
      });
    });
    void session?.send("Browser.crash").catch(() => undefined);
    await gone;
  }

  /** Opens the app in the page, which may have been elsewhere. */
  async back(): Promise<void> {
    await this.goto(this.page);
  }

  private async goto(page: Page): Promise<void> {
    await page.goto(`${this.site.origin}/app/`);
    await page.waitForFunction(() => "client" in globalThis);
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  }

  /** Lets the browser notify, or not. */
  async allow(notify: boolean): Promise<void> {
    await (notify ? this.context.grantPermissions(["notifications"], { origin: this.site.origin }) : this.context.clearPermissions());
  }

  /** What is stored but for the id of the installation. */
  kept(): Promise<Record<"things" | "taps" | "receipts" | "seen", unknown[]>> {
    return this.page.evaluate(async () => {
      const all = (kind: "things" | "taps" | "receipts" | "seen") => client.app.store.all(kind);
      const things = (await all("things")).filter((t) => typeof t !== "string" && typeof t !== "number");
      return { things, taps: await all("taps"), receipts: await all("receipts"), seen: await all("seen") };
    });
  }

  async stop(): Promise<void> {
    this.ended.abort();
    await this.pump;
    await this.context.close();
    await this.site.stop();
    await rm(this.profile, { recursive: true, force: true });
  }

  /** Joins as somebody new, and turns pages on: whoever was paged a moment ago is paged more quietly. */
  async join(privacy = "PRIVACY_FULL"): Promise<Pushes> {
    this.user = await inTime(this.sandbox.hire(this.name, privacy), () => "somebody was to be hired");
    const code = await inTime(this.sandbox.code(this.user), () => "a code was asked for");
    const joined = this.page.evaluate(async (code) => {
      for (;;) {
        try {
          await tocsin.enrol(client.app, { origin: client.app.api.origin, code });
          return await tocsin.enablePushes(client.app);
        } catch (error) {
          // Whoever has no credential may call five times a second, and the tests are many.
          if (!(error instanceof tocsin.TocsinError && error.remedy === "wait")) {
            throw error;
          }
          const { retryAfter } = error;
          await new Promise((resolve) => setTimeout(resolve, retryAfter));
        }
      }
    }, code);
    return inTime(joined, async () => ({
      locks: await inTime(
        this.page.evaluate(() => navigator.locks.query()),
        () => "the page does not answer",
        2000,
      ).catch(String),
      pending: this.site.seen.filter((c) => c.status === 0).map((c) => `${c.method} ${c.path}`),
      calls: this.site.seen.slice(-20).map((c) => `${String(c.at)} ${c.method} ${c.path} ${String(c.status)}`),
    }));
  }

  /** What is on the screen. Nothing asks for it while a card is being shown: the browser would lose that one (src/screen.ts). */
  cards(): Promise<Shown[]> {
    return this.page.evaluate(async () => {
      const registration = await navigator.serviceWorker.ready;
      return (await cards(registration)).map((n) => ({
        title: n.title,
        body: n.body,
        tag: n.tag,
        silent: n.silent ?? false,
        actions: ((n as unknown as { actions?: { action: string }[] }).actions ?? []).map((a) => a.action),
        data: n.data as Record<string, unknown>,
      }));
    });
  }

  /** Waits for the page of an incident. */
  pageOf(incident: string): Promise<Shown> {
    return this.card((c) => c.data["k"] === "page" && c.data["i"] === incident);
  }

  /** Opens an incident that is this person's, and returns its id with the card of its page. */
  async paged(): Promise<{ incident: string; card: Shown }> {
    const incident = await this.sandbox.open({ users: [this.user] });
    return { incident, card: await this.pageOf(incident) };
  }

  /** Waits for the card of an incident to say something. */
  says(incident: string, title: RegExp, within?: number): Promise<Shown> {
    return this.card((c) => c.data["i"] === incident && title.test(c.title), within);
  }

  /** Waits for a card, and returns it. */
  async card(match: (card: Shown) => boolean, within = 10_000): Promise<Shown> {
    return until(
      async () => (await this.cards()).find(match),
      async () => ({
        cards: await this.cards(),
        delivered: [...this.delivered],
        subscription: this.site.subscribed,
        calls: this.site.seen.slice(-12).map((c) => `${c.method} ${c.path} ${String(c.status)} ${c.body.slice(0, 300)}`),
        pushed: (await this.sandbox.pushed(0, AbortSignal.timeout(1000))).requests.map((r) => [
          r.at,
          r.token.slice(-6),
          JSON.stringify(r.opened).slice(0, 200),
        ]),
      }),
      within,
    );
  }

  /** Taps a button of a card; resolves when the worker is done with it. */
  tap(tag: string, action: string): Promise<void> {
    return this.order({ tap: [tag, action] });
  }

  /** Lets the service worker, which starts for it when it does not run, do what browser/sw.ts can. */
  async order(order: Order): Promise<void> {
    const said = await this.page.evaluate(async (order) => {
      const { active } = await navigator.serviceWorker.ready;
      const { port1, port2 } = new MessageChannel();
      return new Promise<string>((resolve) => {
        port1.onmessage = (event) => {
          resolve(String(event.data));
        };
        active?.postMessage(order, [port2]);
      });
    }, order);
    if (said !== "") {
      throw new Error(said);
    }
  }

  /** Hands a push to the service worker, which starts for it when it does not run. */
  async deliver(opened: unknown): Promise<void> {
    await this.cdp.send("ServiceWorker.deliverPushMessage", {
      origin: `${this.site.origin}/`,
      registrationId: this.registration,
      data: JSON.stringify(opened),
    });
  }

  /** The network is back: the browser wakes the worker. */
  async sync(): Promise<void> {
    await this.cdp.send("ServiceWorker.dispatchSyncEvent", {
      origin: `${this.site.origin}/`,
      registrationId: this.registration,
      tag: "tocsin",
      lastChance: false,
    });
  }

  /** Ends the service worker, as the browser does at any time. */
  async stopWorker(): Promise<void> {
    await this.cdp.send("ServiceWorker.stopAllWorkers");
  }

  /** Brings what the server pushes to this browser's subscription. */
  private async carry(): Promise<void> {
    let after = 0;
    const waiting: Pushed[] = [];
    while (!this.ended.signal.aborted) {
      try {
        const { requests, next } = await this.sandbox.pushed(after, this.ended.signal);
        after = next;
        const own = (await (await fetch(`${this.site.origin}/stub/subscription`)).json()) as { endpoint: string } | null;
        waiting.push(...requests.filter((r) => r.token === own?.endpoint && r.opened));
        while (!this.offline && waiting.length > 0) {
          const [push] = waiting;
          const data = (push?.opened as { notification?: { data?: { d?: string } } } | undefined)?.notification?.data;
          this.delivered.set(data?.d ?? "", Date.now());
          await this.deliver(push?.opened);
          waiting.shift();
        }
      } catch (error) {
        if (!this.ended.signal.aborted) {
          await new Promise((resolve) => setTimeout(resolve, 50)); // the browser is just being started again
          void error;
        }
      }
    }
  }
}

/** Waits until something is there, looking again and again; fails with what is there instead. */
export async function until<T>(
  look: () => Promise<T | undefined | false> | T | undefined | false,
  instead: () => unknown,
  within = 10_000,
): Promise<T> {
  const end = Date.now() + within;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) {
      return found;
    }
    if (Date.now() > end) {
      throw new Error(`nothing of what was waited for in ${String(within)} ms; there is ${JSON.stringify(await instead(), null, 1)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The promise; when it takes too long, it fails with what there is instead. */
export async function inTime<T>(promise: Promise<T>, instead: () => unknown, within = 30_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, within);
  }).then(async () => {
    throw new Error(`it takes more than ${String(within)} ms; there is ${JSON.stringify(await instead(), null, 1)}`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
