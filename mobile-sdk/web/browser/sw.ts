import "./stub.js";
import "../example/sw.js";

const scope = globalThis as unknown as ServiceWorkerGlobalScope;

/** What a test asks the worker to do; it answers on the port when that is done. */
export type Order = { tap: [tag: string, action: string] } | { skew: number } | { resubscribe: true };

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
  } else {
    await dispatch(new Event("pushsubscriptionchange") as ExtendableEvent);
  }
}

/** A tap on a notification: nothing from outside can make a real one. */
async function tap(tag: string, action: string): Promise<void> {
  const [notification] = await scope.registration.getNotifications({ tag });
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
