import { describe, expect, test } from "vitest";
import type { Page } from "playwright-core";
import type { FeedState } from "../src/index.js";
import { until } from "./phone.js";
import { world } from "./world.js";

const w = world("ann");

/** Keeps what a feed of this person's incidents tells in the page. */
const follow = (page: Page) =>
  page.evaluate(() => {
    const feed = new tocsin.IncidentFeed(client.app, { assignees: ["users/me"] });
    const states: FeedState[] = [];
    Object.assign(globalThis, { states, unfollow: feed.listen((state) => states.push(state)) });
  });
const states = (page: Page) => page.evaluate(() => (globalThis as unknown as { states: FeedState[] }).states);
const latest = async (page: Page) => (await states(page)).at(-1);
const lines = () => w.ann.site.calls("/v1/incidents:watch");

/** Waits until the page knows an incident in a state. */
const knows = (page: Page, incident: string, state: string) =>
  until(
    async () => (await latest(page))?.incidents.find((i) => i.name === `incidents/${incident}`)?.state === state,
    () => latest(page),
    20_000,
  );

describe("a feed", () => {
  test("has what is open, and each change at once", async () => {
    const { ann, sandbox } = w;
    const first = await sandbox.open({ users: [ann.user] });
    await follow(ann.page);
    await knows(ann.page, first, "STATE_TRIGGERED");
    const second = await sandbox.open({ users: [ann.user] });
    await knows(ann.page, second, "STATE_TRIGGERED");
    expect((await latest(ann.page))?.incidents.map((i) => i.name)).toEqual([second, first].map((i) => `incidents/${i}`));
    await sandbox.admin(`/v1/incidents/${first}:acknowledge`, {});
    await knows(ann.page, first, "STATE_ACKNOWLEDGED");
    await sandbox.admin(`/v1/incidents/${first}:resolve`, {});
    await until(
      async () => (await latest(ann.page))?.incidents.length === 1,
      () => latest(ann.page),
    );
  });

  test("goes on where it was when the line breaks, and says meanwhile that it is old", async () => {
    const { ann, sandbox } = w;
    const incident = await sandbox.open({ users: [ann.user] });
    await follow(ann.page);
    await knows(ann.page, incident, "STATE_TRIGGERED");
    await sandbox.line({ mode: "down" });
    await until(
      async () => (await latest(ann.page))?.status === "offline",
      () => latest(ann.page),
    );
    expect((await latest(ann.page))?.incidents).toHaveLength(1);
    await sandbox.admin(`/v1/incidents/${incident}:acknowledge`, {}); // past the line
    const lists = ann.site.calls("/v1/incidents").filter((c) => c.path === "/v1/incidents").length;
    await sandbox.line({ mode: "up" });
    await knows(ann.page, incident, "STATE_ACKNOWLEDGED");
    expect(await latest(ann.page)).toMatchObject({ status: "live" });
    expect(ann.site.calls("/v1/incidents").filter((c) => c.path === "/v1/incidents")).toHaveLength(lists); // it was not listed again
  });

  test("lists again when it was away for too long", async () => {
    const { ann, sandbox } = w;
    const incident = await sandbox.open({ users: [ann.user] });
    const told = await ann.page.evaluate(async () => {
      try {
        for await (const event of tocsin.watchIncidents(client.app.api, { cursor: "of-another-installation" })) {
          return event.type;
        }
        return "";
      } catch (error) {
        const { remedy, reason } = error as { remedy: string; reason: string };
        return `${remedy} ${reason}`;
      }
    });
    expect(told).toMatch(/^(relist CURSOR_TOO_OLD|fix )/);
    await sandbox.line({ mode: "up" });
    await follow(ann.page);
    await knows(ann.page, incident, "STATE_TRIGGERED");
  });

  test("is one line for all pages, and another page takes it over", async () => {
    const { ann, sandbox } = w;
    await follow(ann.page);
    const other = await ann.another();
    await follow(other);
    const incident = await sandbox.open({ users: [ann.user] });
    await Promise.all([knows(ann.page, incident, "STATE_TRIGGERED"), knows(other, incident, "STATE_TRIGGERED")]);
    const own = () => lines().filter((c) => c.url.includes("assignees"));
    const before = own().length;
    await ann.page.goto("about:blank"); // the page that holds the line is gone
    await sandbox.admin(`/v1/incidents/${incident}:acknowledge`, {});
    await knows(other, incident, "STATE_ACKNOWLEDGED");
    expect(own()).toHaveLength(before + 1);
    await other.close();
    await ann.back();
  });

  test("ends when the person is signed out elsewhere", async () => {
    const { ann, sandbox } = w;
    await follow(ann.page);
    await sandbox.revoke(await ann.page.evaluate(() => client.app.session?.device ?? ""));
    await until(
      () => ann.page.evaluate(() => client.app.session === undefined),
      () => latest(ann.page),
      20_000,
    );
  });
});
