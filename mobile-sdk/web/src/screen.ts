import { within } from "./backoff.js";
import { cardOfTap, isStillThere, type Card, type Shown, type Texts } from "./cards.js";
import { inTurnOrAfter } from "./locks.js";
import type { Tap } from "./taps.js";

/** Why the person cannot see a card: "" when it is shown, "permission" when the browser may not show it. */
export type Hidden = "" | "permission";

/** Nothing keeps a page from the screen for longer, in milliseconds. */
export const glance = 1500;

/** Shows a card. */
export function show(registration: ServiceWorkerRegistration, card: Card): Promise<Hidden> {
  return turn(registration, () => put(registration, card));
}

/** Shows what is made of the card that has the tag now, in its place; `make` may leave it there. */
export function replace(registration: ServiceWorkerRegistration, tag: string, make: (there: Shown | undefined) => Card | undefined): Promise<Hidden> {
  return turn(registration, async () => {
    const [there] = tag ? await within(glance, registration.getNotifications({ tag }), []) : [];
    const card = make(there);
    return card ? put(registration, card) : "";
  });
}

/** Puts the card of a tap in the place of the one that was tapped, unless there is news there. As well as it can: no tap waits for a screen. */
export async function showTap(registration: ServiceWorkerRegistration | undefined, tap: Tap, texts: Texts): Promise<void> {
  const card = cardOfTap(tap, texts);
  if (registration && card) {
    const replaced = replace(registration, card.options.tag ?? "", (there) => (isStillThere(tap, there) ? card : undefined));
    await within(2 * glance, replaced, "");
  }
}

/** What is on the screen. */
export function cards(registration: ServiceWorkerRegistration): Promise<Notification[]> {
  return turn(registration, () => registration.getNotifications());
}

/**
 * Looks at the screen, or changes it, while no page of the app nor its worker does.
 *
 * A Chromium on a desktop that is asked for its cards while it shows one takes
 * that one for gone: it stays on the screen, but is in no list any more, and a
 * tap on it does nothing. And who has looked what is there must not cover what
 * came since. Who has waited for a glance goes ahead all the same: the one
 * before may be loading a picture.
 *
 * https://source.chromium.org/chromium/chromium/src/+/main:content/browser/notifications/platform_notification_context_impl.cc
 */
function turn<T>(registration: ServiceWorkerRegistration, work: () => Promise<T>): Promise<T> {
  return inTurnOrAfter(`screen ${registration.scope}`, glance, work);
}

async function put(registration: ServiceWorkerRegistration, card: Card): Promise<Hidden> {
  try {
    await registration.showNotification(card.title, card.options);
    return "";
  } catch (error) {
    if (Notification.permission !== "granted") {
      return "permission";
    }
    // An option that this browser does not like must not hide a page.
    const { body, tag, data } = card.options;
    if (!(error instanceof TypeError)) {
      throw error;
    }
    await registration.showNotification(card.title, { body: body ?? "", tag: tag ?? "", data: data });
    return "";
  }
}
