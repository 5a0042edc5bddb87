import type { App } from "./app.js";
import { TocsinError } from "./errors.js";
import { checkPushes, type Pushes } from "./pushes.js";

/**
 * Asks for the permission to notify, subscribes, and registers. Browsers want
 * it to be called from a tap. Fails with a {@link TocsinError} when the server
 * is not reached.
 */
export async function enablePushes(app: App, registration?: ServiceWorkerRegistration): Promise<Pushes> {
  if ("Notification" in globalThis && Notification.permission === "default") {
    await Notification.requestPermission();
  }
  return checkPushes(app, registration);
}

/**
 * Keeps the device reachable while the page is open: it is checked now, when
 * the page is looked at again after a while, and when the person changes the
 * permission. Returns what ends it. A check that fails is told as well, and made
 * again the next time.
 */
export function keepReachable(app: App, tell: (pushes: Pushes | TocsinError) => void, registration?: ServiceWorkerRegistration): () => void {
  let last = 0;
  let running = false;
  const check = async () => {
    if (running) {
      return;
    }
    running = true;
    last = app.clock.local();
    try {
      tell(await checkPushes(app, registration));
    } catch (error) {
      last = 0;
      tell(error instanceof TocsinError ? error : new TocsinError(String(error), { remedy: "retry", reason: "SUBSCRIBE" }, { cause: error }));
    } finally {
      running = false;
    }
  };
  const seen = () => {
    if (document.visibilityState === "visible" && Math.abs(app.clock.local() - last) > 3_600_000) {
      void check();
    }
  };
  const changed = () => void check();
  let permission: PermissionStatus | undefined;
  let ended = false;
  navigator.permissions
    .query({ name: "notifications" })
    .then((status) => {
      if (!ended) {
        permission = status;
        status.addEventListener("change", changed);
      }
    })
    .catch(() => undefined); // some browsers do not tell
  document.addEventListener("visibilitychange", seen);
  addEventListener("online", seen);
  void check();
  return () => {
    ended = true;
    permission?.removeEventListener("change", changed);
    document.removeEventListener("visibilitychange", seen);
    removeEventListener("online", seen);
  };
}
