import type { Verdict } from "./judge.js";
import { pushOf, type OpenedText, type Push, type ShowOptions } from "./push.js";
import type { Tap, TapAnswer } from "./taps.js";

/** What notifications say that are not the server's own, for an app in another language. */
export interface Texts {
  acknowledge: string;
  open: string;
  /** The button of a card that was not confirmed. */
  again: string;
  acting: string;
  /** Nothing has confirmed the tap for 15 seconds. */
  unconfirmed: string;
  unconfirmedBody: string;
  /** The server has refused it, or could not be reached at all. */
  failed: string;
  failedBody: string;
  /** What is true after a tap: title and body. */
  done: (answer: TapAnswer) => [title: string, body: string];
  /** The title of a page that comes after its deadline. */
  missed: (title: string) => string;
  /** The body of a page that was overtaken by its incident. */
  stale: string;
  /** A push for whoever was signed in here before. */
  signedOut: [title: string, body: string];
  /** A push that cannot be read. */
  unreadable: [title: string, body: string];
  /** The person has said that he heard the test. */
  heard: [title: string, body: string];
}

/** The texts in English. */
export const english: Texts = {
  acknowledge: "Acknowledge",
  open: "Open",
  again: "Try again",
  acting: "Acknowledging…",
  unconfirmed: "NOT acknowledged yet",
  unconfirmedBody: "The server has not confirmed it. Tap to open the app.",
  failed: "NOT acknowledged",
  failedBody: "Tap to open the app, and do it there.",
  done: (answer) => {
    const number = answer.number && answer.number !== "0" ? `#${answer.number}` : "It";
    switch (answer.state) {
      case "STATE_ACKNOWLEDGED":
        if (answer.holderIsCaller) {
          return ["Acknowledged", `You have ${number === "It" ? "it" : number}.`];
        }
        if (answer.holder === "" || answer.reopen) {
          return [answer.holder ? `Acknowledged by ${answer.holder}` : "Acknowledged", `${number} has moved on. Tap to see.`];
        }
        return [`Acknowledged by ${answer.holder}`, `${answer.holder} has ${number === "It" ? "it" : number}.`];
      case "STATE_RESOLVED":
        return ["Resolved", `${number} is over.`];
      default:
        return ["Not acknowledged any more", `${number} needs somebody. Tap to see.`];
    }
  },
  missed: (title) => `Missed: ${title}`,
  stale: "There is news about it since. Tap to see.",
  signedOut: ["Not signed in", "A page has come for somebody who was signed in here. Sign in to see it."],
  unreadable: ["You may be needed", "A page has come that this app cannot read. Tap to see."],
  heard: ["The test has passed", "This device can be paged."],
};

/** A notification to be shown. */
export interface Card {
  title: string;
  options: ShowOptions;
}

/** What a browser says about a notification that it shows. */
export type Shown = Pick<Notification, "title" | "body" | "tag" | "data"> & Partial<Omit<ShowOptions, "data">>;

/**
 * The card of a push. Every push shows something: one that must not ring shows
 * quietly, and where its incident's card is newer (`there`), it is that one that shows.
 */
export function cardOf(push: Push, verdict: Verdict, texts: Texts, opened?: OpenedText, there?: Shown): Card {
  switch (verdict) {
    case "ring":
    case "replace":
      return open(push, opened);
    case "missed": {
      const { title, options } = open(push, opened);
      return { title: texts.missed(title), options: { ...quiet(options), requireInteraction: false } };
    }
    case "duplicate":
    case "stale":
      if (there) {
        return { title: there.title, options: quiet(optionsOf(there)) };
      }
      if (verdict === "duplicate") {
        return { ...open(push, opened), options: quiet(open(push, opened).options) };
      }
      return {
        title: push.title,
        options: { ...quiet(push.options), body: texts.stale, requireInteraction: false, actions: buttons(push.options, ["open", texts.open]) },
      };
  }
}

/** The card that takes the place of one that was tapped; undefined for a tap in the app. */
export function cardOfTap(tap: Tap, texts: Texts): Card | undefined {
  if (!tap.card) {
    return undefined;
  }
  const { title, tag, data } = tap.card;
  const calm: ShowOptions = { tag, data, silent: true };
  const loud: ShowOptions = {
    tag,
    data,
    renotify: tag !== "",
    requireInteraction: true,
    vibrate: [500, 250, 500],
    actions: [
      { action: "ack", title: texts.again },
      { action: "open", title: texts.open },
    ],
  };
  switch (tap.state) {
    case "acting":
      return { title: texts.acting, options: { ...calm, body: title } };
    case "unconfirmed":
      return { title: texts.unconfirmed, options: { ...loud, body: `${title}\n${texts.unconfirmedBody}` } };
    case "done": {
      const [done, body] = texts.done(tap.answer ?? nothing);
      return { title: done, options: { ...calm, body } };
    }
    default:
      return { title: texts.failed, options: { ...loud, body: `${title}\n${texts.failedBody}` } };
  }
}

const nothing: TapAnswer = { state: "", outcome: "", holder: "", holderIsCaller: false, number: "", reopen: false };

/** Whether the card of a tap may take the place of what is on the screen: not of news that came since. */
export function isStillThere(tap: Tap, there: Shown | undefined): boolean {
  return !there || pushOf(there.title, { data: there.data as unknown }).delivery === tap.delivery;
}

/** A push whose text was sealed shows what came out of it. */
function open(push: Push, opened: OpenedText | undefined): Card {
  if (!opened) {
    return { title: push.title, options: push.options };
  }
  const data = push.options.data as Record<string, unknown>;
  return {
    title: opened.title || push.title,
    options: {
      ...push.options,
      ...(opened.body ? { body: opened.body } : {}),
      data: { ...data, ...(opened.actionToken ? { a: opened.actionToken } : {}), ...(opened.links.length > 0 ? { links: opened.links } : {}) },
    },
  };
}

/** Browsers refuse a silent notification that vibrates. */
function quiet(options: ShowOptions): ShowOptions {
  const { vibrate: _, ...rest } = options;
  return { ...rest, silent: true, renotify: false };
}

function optionsOf(there: Shown): ShowOptions {
  const { body, tag, data, actions, requireInteraction, timestamp, icon, badge } = there as ShowOptions;
  return Object.fromEntries(
    Object.entries({ body, tag, data: data, actions, requireInteraction, timestamp, icon, badge }).filter(([, value]) => value !== undefined),
  );
}

/** Buttons, where the push had any: not at Apple's. */
function buttons(options: ShowOptions, ...all: [action: string, title: string][]): { action: string; title: string }[] {
  return options.actions ? all.map(([action, title]) => ({ action, title })) : [];
}
