import { describe, expect, test } from "vitest";
import { cardOf, cardOfTap, english, isStillThere } from "./cards.js";
import { isLoud } from "./judge.js";
import { pushOf, readOpened, readPush, type Push } from "./push.js";
import { newTap } from "./taps.js";
import { vectors } from "../browser/vectors.js";

interface Case {
  name: string;
  browser: string;
  payload: { notification: { actions?: { action: string }[] } };
  want: {
    title: string;
    body: string;
    tag: string;
    audible: boolean;
    receipt_path?: string;
    action_token?: string;
    delivery_id: string;
    incident_id?: string;
    offers_acknowledge: boolean;
  };
}

const cases = vectors<Case>("webpush.json");
const pushNamed = (name: string) => readPush(cases.find((c) => c.name === name)?.payload) as Push;

describe("pushes as they come", () => {
  test.each(cases)("$browser: $name", ({ payload, want, browser }) => {
    const push = readPush(payload) as Push;
    const { title, options } = cardOf(push, isLoud(push.kind) ? "ring" : "replace", english);
    expect({ title, body: options.body, tag: options.tag, audible: options.silent !== true }).toEqual({
      title: want.title,
      body: want.body,
      tag: want.tag,
      audible: want.audible,
    });
    expect(push).toMatchObject({
      receiptPath: want.receipt_path ?? "",
      actionToken: want.action_token ?? "",
      delivery: want.delivery_id,
      incident: want.incident_id ?? "",
    });
    if (browser === "any") {
      expect(options.actions?.some((a) => a.action === "ack") ?? false).toBe(want.offers_acknowledge);
    }
  });
});

test("what must not ring shows quietly, and says what it is", () => {
  const page = pushNamed("page");
  expect(cardOf(page, "missed", english)).toMatchObject({ title: "Missed: CRITICAL Payments", options: { silent: true, requireInteraction: false } });
  expect(cardOf(page, "duplicate", english)).toMatchObject({
    title: "CRITICAL Payments",
    options: { silent: true, renotify: false, tag: page.options.tag },
  });
  const stale = cardOf(page, "stale", english);
  expect(stale.options).toMatchObject({ silent: true, body: english.stale });
  expect(stale.options.actions?.map((a) => a.action)).toEqual(["open"]);
  for (const verdict of ["missed", "duplicate", "stale"] as const) {
    expect(cardOf(page, verdict, english).options.vibrate).toBeUndefined(); // browsers refuse it together with silent
  }
});

test("a page that its clear has overtaken shows the clear", () => {
  const there = { title: "Acknowledged", body: "by Ben Baker", tag: "inc-1", data: { k: "clear" } };
  expect(cardOf(pushNamed("page"), "stale", english, undefined, there)).toEqual({
    title: "Acknowledged",
    options: { body: "by Ben Baker", tag: "inc-1", data: { k: "clear" }, silent: true, renotify: false },
  });
});

test("what was sealed takes the place of what was in the clear", () => {
  const opened = readOpened(
    '{"title":"T","subtitle":"S","body":"B","a":"v1.x","links":[{"text":"ok","url":"https://a"},{"text":"no","url":"javascript:x"}]}',
  );
  const { title, options } = cardOf(pushNamed("page"), "ring", english, opened);
  expect({ title, body: options.body }).toEqual({ title: "T", body: "S\nB" });
  expect(options.data).toMatchObject({ a: "v1.x", links: [{ text: "ok", url: "https://a" }], k: "page" });
  expect(readOpened("no")).toBeUndefined();
});

describe("the card of a tap", () => {
  const tap = newTap(
    { verb: "acknowledge", delivery: "d", card: { title: "CRITICAL", tag: "inc-1", data: { d: "d" } }, call: () => ({ path: "", body: {} }) },
    "A",
    0,
  );

  test("never says acknowledged before the server did", () => {
    for (const state of ["acting", "unconfirmed", "refused", "given_up"] as const) {
      const card = cardOfTap({ ...tap, state }, english);
      expect(card?.title).not.toMatch(/^Acknowledged/);
      expect(card?.options.silent === true).toBe(state === "acting");
    }
  });

  test("says what is true afterwards", () => {
    const done = (answer: object) =>
      cardOfTap(
        {
          ...tap,
          state: "done",
          answer: { state: "STATE_ACKNOWLEDGED", outcome: "", holder: "", holderIsCaller: false, number: "42", reopen: false, ...answer },
        },
        english,
      );
    expect(done({ holder: "Ann", holderIsCaller: true })).toMatchObject({ title: "Acknowledged", options: { body: "You have #42.", silent: true } });
    expect(done({ holder: "Ben Baker" })).toMatchObject({ title: "Acknowledged by Ben Baker" });
    expect(done({ holder: "", reopen: true })).toMatchObject({ title: "Acknowledged", options: { body: "#42 has moved on. Tap to see." } }); // nobody here has it
    expect(done({ holder: "Ben Baker", reopen: true })?.options.body).toContain("moved on");
    expect(done({ state: "STATE_RESOLVED" })).toMatchObject({ title: "Resolved" });
    expect(done({ state: "STATE_TRIGGERED" })?.title).not.toMatch(/^Acknowledged/);
  });

  test("does not take the place of news", () => {
    expect(isStillThere(tap, undefined)).toBe(true);
    expect(isStillThere(tap, { title: "", body: "", tag: "inc-1", data: { d: "d" } })).toBe(true);
    expect(isStillThere(tap, { title: "", body: "", tag: "inc-1", data: { d: "newer" } })).toBe(false);
  });

  test("is none for a tap in the app", () => {
    const { card: _, ...inApp } = tap;
    expect(cardOfTap(inApp, english)).toBeUndefined();
  });
});

describe("pushes that are none", () => {
  test.each([[undefined], [null], [1], ["x"], [{}], [{ notification: null }], [{ notification: { title: "" } }], [[]]])("%j", (message) => {
    expect(readPush(message)).toBeUndefined();
  });

  test("fields of other types count as absent, and no path leads elsewhere", () => {
    const push = pushOf("t", { data: { d: 1, x: "y", r: {}, u: "//evil.example/x", m: [], a: null } });
    expect(push).toMatchObject({ delivery: "", deadline: undefined, revision: undefined, receiptPath: "", wipe: "", actionToken: "" });
    expect(pushOf("t", { data: { u: "https://evil.example" } }).receiptPath).toBe("");
    expect(pushOf("t", { data: { u: "/\\evil.example" } }).receiptPath).toBe("");
  });
});
