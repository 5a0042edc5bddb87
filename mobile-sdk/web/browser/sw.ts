import "./stub.js";
import "../example/sw.js";
import { cards } from "../src/screen.js";

const scope = globalThis as unknown as ServiceWorkerGlobalScope;

/** What a test asks the worker to do; it answers on the port when that is done. */
export type Order =
  | { tap: [tag: string, action: string] }
  | { skew: number }
  | { resubscribe: true }
  /** From now on the browser's storage does not answer whoever opens it. */
  | { stuck: true }
  /** From now on the browser shows no card. */
  | { dark: true }
  /** From now on the browser takes so many milliseconds longer to show a card, and to say what it shows. */
  | { slow: number }
  /** Waits until since then the screen was looked at so often. */
  | { looks: number }
  /** Fails if since then anything looked at the screen while a card was being shown. */
  | { calm: true };

scope.addEventListener("message", (event) => {
  const done = obey(event.data as Order).then(
    () => "",
    (error: unknown) => String(error),
  );
  event.waitUntil(done.then((said) => event.ports[0]?.postMessage(said)));
});

async function obey(order: Order): Promise<void> {
  if ("tap" in order) {
    await tap(...order.tap);
  } else if ("skew" in order) {
    const real = Date.now.bind(Date);
    Date.now = () => real() + order.skew;
  } else if ("stuck" in order) {
    indexedDB.open = () => ({}) as IDBOpenDBRequest;
  } else if ("dark" in order) {
    scope.registration.showNotification = () => Promise.reject(new Error("the screen is dark"));
  } else if ("slow" in order) {
    slow(order.slow);
  } else if ("looks" in order) {
    while (looks < order.looks) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } else if ("calm" in order) {
    if (lookedAt.length > 0) {
      throw new Error(`the screen was looked at while these were being shown: ${lookedAt.join(", ")}`);
    }
  } else {
    await dispatch(new Event("pushsubscriptionchange") as ExtendableEvent);
  }
}

/** The cards that were being shown while something looked at the screen. */
const lookedAt: string[] = [];
let looks = 0;

function slow(milliseconds: number): void {
  const { registration } = scope;
  const [show, look] = [registration.showNotification.bind(registration), registration.getNotifications.bind(registration)];
  const pause = () => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const showing = new Set<string>();
  registration.showNotification = async (title, options) => {
    showing.add(title);
    await show(title, options);
    await pause();
    showing.delete(title);
  };
  registration.getNotifications = async (filter) => {
    looks++;
    lookedAt.push(...showing);
    const found = await look(filter);
    await pause();
    return found;
  };
}

/** A tap on a notification: nothing from outside can make a real one. */
async function tap(tag: string, action: string): Promise<void> {
  const notification = (await cards(scope.registration)).find((n) => n.tag === tag);
  if (!notification) {
    throw new Error(`there is no card ${tag}`);
  }
  await dispatch(new NotificationEvent("notificationclick", { notification, action }));
}

/** Hands an event to the worker, and waits until it is done with it, as the browser does. */
async function dispatch(event: ExtendableEvent): Promise<void> {
  let done: Promise<unknown> = Promise.resolve();
  event.waitUntil = (work) => {
    done = Promise.resolve(work);
  };
  scope.dispatchEvent(event);
  await done;
}
