import { App, unsubscribe, type AppOptions } from "./app.js";
import { within } from "./backoff.js";
import { cardOf, english, type Shown, type Texts } from "./cards.js";
import { confirmTest, deviceId, known, renewSealKey, sealKey, testOf } from "./device.js";
import { isLoud, judge, type Verdict } from "./judge.js";
import { inTurnOrAfter } from "./locks.js";
import { anonymous, pushOf, readOpened, readPush, type OpenedText, type Push, type ShowOptions } from "./push.js";
import { checkPushes, mendPushes } from "./pushes.js";
import { Receipts, type Receipt } from "./receipts.js";
import { glance, replace, show, showTap, type Hidden } from "./screen.js";
import { open } from "./seal.js";
import { registerSync, syncTag } from "./sync.js";
import { isPending, Taps } from "./taps.js";

export { english } from "./cards.js";
export type { Texts } from "./cards.js";
export type { AppOptions } from "./app.js";

/** How the service worker does its part. */
export interface WorkerOptions extends AppOptions {
  /** The app's page, which a tap on a notification opens at "#/incidents/<id>". Default: the worker's scope. */
  page?: string;
  /** What notifications say that are not the server's own. Default: English. */
  texts?: Partial<Texts>;
  /** The picture of notifications, and the small one in the status bar. */
  icon?: string;
  badge?: string;
}

/** What the library of TypeScript does not know yet. */
interface DeclarativePushEvent extends PushEvent {
  /** The notification of a declaration, at Apple's. */
  readonly notification?: Omit<Notification, "data"> & ShowOptions;
}
interface SyncEvent extends ExtendableEvent {
  readonly tag: string;
}

const scope = globalThis as unknown as ServiceWorkerGlobalScope;

/** For so long, in milliseconds, one event may go on trying; after that the browser ends the worker. */
const eventTime = 240_000;
/** And for so long on receipts: after that the browser wakes the worker when the network is back. */
const reportTime = 60_000;

/**
 * Does all that a service worker has to do to be paged: shows pushes, takes taps
 * on them, reports receipts, and keeps the subscription. To be called once, when
 * the worker's script is read.
 */
export function servePushes(options: WorkerOptions = {}): void {
  const worker = new PushWorker(options);
  scope.addEventListener("push", (event) => {
    event.waitUntil(worker.pushed(event));
  });
  scope.addEventListener("notificationclick", (event) => {
    event.waitUntil(worker.clicked(event));
  });
  scope.addEventListener("pushsubscriptionchange", (event) => {
    (event as ExtendableEvent).waitUntil(worker.resubscribe());
  });
  scope.addEventListener("sync" as "message", (event) => {
    const sync = event as unknown as SyncEvent;
    if (sync.tag === syncTag) {
      sync.waitUntil(worker.drain());
    }
  });
}

/** What lives as long as the worker runs. */
interface Parts {
  app: App;
  taps: Taps;
  receipts: Receipts;
}

class PushWorker {
  private readonly texts: Texts;
  private opened: Promise<Parts> | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: WorkerOptions) {
    this.texts = { ...english, ...options.texts };
  }

  /** Shows a push first, and then sees to the rest. One at a time: a clear must not change places with its page. */
  async pushed(event: DeclarativePushEvent): Promise<void> {
    const shown = this.turn.then(() => this.show(this.read(event)));
    this.turn = within(3 * glance, shown, undefined); // what hangs must not hold up the next
    await this.see(await shown);
  }

  async clicked(event: NotificationEvent): Promise<void> {
    const { notification, action } = event;
    const push = pushOf(notification.title, { data: notification.data as unknown, body: notification.body, tag: notification.tag });
    switch (action) {
      case "ack":
        return this.acknowledge(push);
      case "heard":
        return this.heard(push);
      default:
        return this.visit(push, notification);
    }
  }

  async resubscribe(): Promise<void> {
    const { app } = await this.parts();
    await checkPushes(app, scope.registration);
  }

  /** Sends what waits. Fails when something still does, so that the browser tries again. */
  async drain(): Promise<void> {
    const { app, taps, receipts } = await this.parts();
    await Promise.all([within(eventTime, taps.hurry(), undefined), receipts.hurry(AbortSignal.timeout(reportTime))]);
    if (app.storageProblem || (await receipts.list()).length > 0 || (await taps.list()).some(isPending)) {
      throw new Error("something still waits for the server");
    }
  }

  private read(event: DeclarativePushEvent): Push {
    if (event.notification) {
      const { title, body, tag, lang, dir, silent, requireInteraction, icon, badge, data, navigate } = event.notification;
      const options = { body, tag, lang, dir, silent, requireInteraction, icon, badge, data, navigate };
      return pushOf(title, Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== "")));
    }
    let message: unknown;
    try {
      message = event.data?.json();
    } catch {
      message = undefined;
    }
    const [title, body] = this.texts.unreadable;
    return readPush(message) ?? pushOf(title, { body, tag: "tocsin-unreadable", renotify: true, requireInteraction: true, data: { k: "page" } });
  }

  /** Judges a push, and shows it. What the storage or the server does not answer soon is not waited for. */
  private async show(arrived: Push): Promise<After> {
    const parts = await within(glance, this.parts(), undefined);
    const app = parts?.app;
    if (app && arrived.wipe !== "" && arrived.wipe === deviceId(app)) {
      await within(glance, app.wipe(), undefined);
    }
    const stray = app !== undefined && arrived.wipe === "" && (await within(glance, app.isLeft(), false));
    const push = stray ? anonymous(arrived, this.texts.signedOut) : arrived;
    const verdict = app ? await this.judge(app, push) : isLoud(push.kind) ? "ring" : "replace";
    const opened = app && push.sealed ? await within(glance, this.unseal(app, push), undefined) : undefined;
    const { icon, badge } = this.options;
    const make = (there?: Shown) => {
      const { title, options } = cardOf(push, verdict, this.texts, opened === "closed" ? undefined : opened, there);
      return { title, options: { ...(icon ? { icon } : {}), ...(badge ? { badge } : {}), ...options } };
    };
    const overtaken = verdict === "duplicate" || verdict === "stale";
    const hidden = await (overtaken ? replace(scope.registration, push.options.tag ?? "", make) : show(scope.registration, make()));
    if (app && push.wipe === "") {
      await within(glance, remember(app, push, verdict), undefined);
    }
    return { parts, push, stray, verdict, hidden, unopened: opened === "closed" };
  }

  private async judge(app: App, push: Push): Promise<Verdict> {
    const known = await within(glance, seen(app, push), { delivered: false });
    const arrival = { kind: push.kind, revision: push.incident ? push.revision : undefined, deadline: push.deadline };
    const verdict = judge(arrival, known, app.clock.now());
    if (verdict !== "missed") {
      return verdict;
    }
    // Before a page is silenced for being late, the server is asked what time it is.
    await within(glance, app.api.get("/v1/webPushKey", { timeout: glance }), undefined);
    return judge(arrival, known, app.clock.now());
  }

  /** Opens the text of a push; "closed" when it does not open for this device. Fails when device or key cannot be read, which says nothing of them. */
  private async unseal(app: App, push: Push): Promise<OpenedText | "closed"> {
    await known(app);
    const key = await sealKey(app, push.sealedKey);
    if (!key) {
      return "closed";
    }
    const binding = { delivery: push.delivery, incident: push.incident, device: deviceId(app), key: key.id, deadline: (push.deadline ?? 0) / 1000 };
    return readOpened(await open(key, push.sealed, binding).catch(() => "")) ?? "closed";
  }

  /** What is done once the push is on the screen. */
  private async see(after: After): Promise<void> {
    const { push, stray } = after;
    const { app, taps, receipts } = after.parts ?? (await this.parts());
    const work: Promise<unknown>[] = [];
    const begin = (what: Promise<unknown>) => work.push(within(eventTime, what, undefined));
    begin(setBadge(push.badge));
    begin(taps.hurry()); // a push came through, so the network is back
    if (push.receiptPath !== "" && push.delivery !== "") {
      await receipts.add(receiptsOf(app, after), push.receiptKey);
    }
    begin(receipts.hurry(AbortSignal.timeout(reportTime)));
    if (push.wipe !== "" && push.wipe === deviceId(app)) {
      begin(app.wipe()); // what could not be read in time is there now
    }
    begin(stray ? this.leave(app) : push.ask === "seal_key" ? this.reseal(app) : mendPushes(app, scope.registration));
    app.tell({ type: "push", kind: push.kind, incident: push.incident });
    await Promise.all(work);
    await this.later(taps, receipts);
  }

  /** Ends the subscription of whoever was here before, unless somebody has signed in meanwhile. */
  private leave(app: App): Promise<void> {
    return inTurnOrAfter(`${app.store.name} pushes`, 30_000, async () => {
      if (await app.isLeft()) {
        await unsubscribe(scope.registration);
      }
    });
  }

  /** The server says that what it seals for this device does not open. */
  private async reseal(app: App): Promise<void> {
    await renewSealKey(app);
    await checkPushes(app, scope.registration);
  }

  /** Where something still waits, the browser is asked to wake the worker when the network is there. */
  private async later(taps: Taps, receipts: Receipts): Promise<void> {
    if ((await receipts.list()).length > 0 || (await taps.list()).some(isPending)) {
      await registerSync(scope.registration);
    }
  }

  private async acknowledge(push: Push): Promise<void> {
    const { app, taps, receipts } = await this.parts();
    const tap = await taps.tap({
      verb: "acknowledge",
      delivery: push.delivery,
      incident: push.incident,
      deadline: push.deadline === undefined ? undefined : push.deadline - app.clock.offset,
      card: { title: push.title, tag: push.options.tag ?? "", data: push.options.data },
      call: (actionId, atDevice) => ({
        path: "/v1/push/actions",
        body: { actionId, deliveryId: push.delivery, verb: "VERB_ACKNOWLEDGE", atDevice },
        token: push.actionToken,
      }),
    });
    await Promise.all([showTap(scope.registration, tap, this.texts), registerSync(scope.registration)]);
    const settled = await taps.wait(tap, AbortSignal.timeout(eventTime));
    await showTap(scope.registration, settled, this.texts); // the first card may have come after the answer
    if (settled.state === "refused" && settled.problem?.remedy === "open") {
      await this.openPage(push.incident).catch(() => undefined); // the browser may want another tap: the card says so
    }
    await receipts.drive(AbortSignal.timeout(reportTime));
  }

  private async heard(push: Push): Promise<void> {
    const { app } = await this.parts();
    try {
      await confirmTest(app, testOf(push.delivery), true);
      const [title, body] = this.texts.heard;
      await show(scope.registration, { title, options: { body, tag: push.options.tag ?? "", data: push.options.data, silent: true } });
    } catch {
      await this.openPage("").catch(() => undefined); // it is asked there
    }
  }

  /** The person wants to see it. */
  private async visit(push: Push, notification: Notification): Promise<void> {
    try {
      await this.openPage(push.incident); // first: a browser lets no worker open a window later
      notification.close();
    } catch {
      // The card is all that the person has: it stays, for another tap.
    }
    const { app, receipts } = await this.parts();
    if (push.receiptPath !== "" && push.delivery !== "") {
      await receipts.add([receipt(app, push, "STATE_OPENED")], push.receiptKey);
      await receipts.drive(AbortSignal.timeout(reportTime));
    }
  }

  private async openPage(incident: string): Promise<void> {
    const page = new URL(this.options.page ?? "./", scope.registration.scope);
    page.hash = incident ? `/incidents/${encodeURIComponent(incident)}` : page.hash;
    const windows = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
    const own = windows.find((w) => w.url.split("#")[0] === page.href.split("#")[0]);
    if (!own) {
      await scope.clients.openWindow(page.href);
      return;
    }
    const parts = await within(glance, this.parts(), undefined);
    parts?.app.tell({ type: "open", incident });
    await own.focus();
    if (!parts) {
      throw new Error("the page was not told which incident to open");
    }
  }

  /** What the worker works with. */
  private parts(): Promise<Parts> {
    this.opened ??= App.open(this.options).then((app) => {
      const taps = new Taps(app, (tap) => showTap(scope.registration, tap, this.texts));
      return { app, taps, receipts: new Receipts(app) };
    });
    return this.opened;
  }
}

/** What became of showing a push. */
interface After {
  parts: Parts | undefined;
  /** As it was shown. */
  push: Push;
  /** Whether it was for whoever was signed in here before. */
  stray: boolean;
  verdict: Verdict;
  /** Why the person cannot see it; "" when he can. */
  hidden: Hidden;
  /** Whether it had a sealed text that did not open. */
  unopened: boolean;
}

/** What there is to say about a push, once it was shown. */
function receiptsOf(app: App, { push, verdict, hidden, unopened }: After): Receipt[] {
  const received = receipt(app, push, "STATE_RECEIVED", unopened ? "decrypt" : "");
  if (hidden !== "") {
    return [received, receipt(app, push, "STATE_SUPPRESSED", hidden)];
  }
  switch (verdict) {
    case "stale":
      return [received, receipt(app, push, "STATE_SUPPRESSED", "stale")];
    case "missed":
      return [received, receipt(app, push, "STATE_SUPPRESSED", "expired")];
    default:
      return [received, receipt(app, push, "STATE_DISPLAYED")];
  }
}

function receipt(app: App, push: Push, state: NonNullable<Receipt["state"]>, reason = ""): Receipt {
  return {
    deliveryId: push.delivery,
    state,
    deviceAt: new Date(app.clock.local()).toISOString(),
    serverOffsetMs: app.clock.offset,
    ...(app.options.appVersion ? { appVersion: app.options.appVersion } : {}),
    ...(reason ? { reason } : {}),
  };
}

/** What is kept of pushes that were shown, by delivery and by incident. */
interface Seen {
  at: number;
  revision?: number;
}

/** For so long a push service may bring a push again, in milliseconds. */
const seenFor = 7 * 24 * 3_600_000;

async function seen(app: App, push: Push) {
  const [delivery, incident] = await Promise.all([app.store.get("seen", `d ${push.delivery}`), app.store.get("seen", `i ${push.incident}`)]);
  return { delivered: push.delivery !== "" && delivery !== undefined, newest: (incident as Seen | undefined)?.revision };
}

/** Keeps what was shown, after it was: a worker that is ended before must not silence the next try. */
async function remember(app: App, push: Push, verdict: Verdict): Promise<void> {
  const at = app.clock.local();
  if (push.delivery !== "") {
    await app.keep(app.store.put("seen", `d ${push.delivery}`, { at } satisfies Seen));
  }
  const { revision } = push;
  if (push.incident !== "" && revision !== undefined && verdict !== "stale") {
    await app.keep(
      app.store.change("seen", `i ${push.incident}`, (old) => ({ at, revision: Math.max(revision, (old as Seen | undefined)?.revision ?? 0) })),
    );
  }
  await app.keep(app.store.sweep("seen", (value) => (at - (value as Seen).at > seenFor ? null : undefined)));
}

async function setBadge(badge: number | undefined): Promise<void> {
  if (badge !== undefined && "setAppBadge" in scope.navigator) {
    await scope.navigator.setAppBadge(badge);
  }
}
