import { describe, expect, test } from "vitest";
import type { Tap } from "../src/index.js";
import { until } from "./phone.js";
import { world } from "./world.js";

const w = world("ann");

/** The calls that acknowledge, from the app. */
const calls = (incident: string) => w.ann.site.calls(`/v1/incidents/${incident}:acknowledge`);
const requestIds = (incident: string) => new Set(calls(incident).map((c) => (JSON.parse(c.body) as { requestId: string }).requestId));
const actionIds = (delivery: unknown) =>
  new Set(
    w.ann.site
      .calls("/v1/push/actions")
      .map((c) => JSON.parse(c.body) as { actionId: string; deliveryId: string })
      .filter((b) => b.deliveryId === delivery)
      .map((b) => b.actionId),
  );

/** Taps acknowledge in the app, and returns the states that the app was told, up to now. */
const tapInApp = (incident: string) =>
  w.ann.page.evaluate(async (name) => {
    const told: Tap[] = [];
    Object.assign(globalThis, { told });
    client.app.listen((news) => {
      if (news.type === "tap") {
        told.push(news.tap);
      }
    });
    return tocsin.acknowledge(client.taps, { name });
  }, `incidents/${incident}`);
const told = () => w.ann.page.evaluate(() => (globalThis as unknown as { told: Tap[] }).told);
const toldDone = () =>
  until(
    async () => {
      const taps = await told();
      return taps.some((t) => t.state === "done") && taps;
    },
    told,
    40_000,
  );

/** Ann is paged, and acknowledges in the app while the line is down; resolves with the incident once it was tried. */
const tapOffLine = async () => {
  const { incident } = await w.ann.paged();
  await w.sandbox.line({ mode: "down" });
  await tapInApp(incident);
  await until(() => calls(incident).length >= 1, told);
  return incident;
};

describe("a tap while the line is bad", () => {
  test("is done once the network is back, and not said to be before", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    await sandbox.line({ mode: "down" });
    expect(await tapInApp(incident)).toMatchObject({ state: "acting", stored: true });
    await until(() => calls(incident).length >= 2, told);
    expect((await told()).every((t) => t.state === "acting")).toBe(true);
    await sandbox.line({ mode: "up" });
    await ann.page.evaluate(() => dispatchEvent(new Event("online")));
    const states = (await toldDone()).map((t) => t.state);
    expect(states.indexOf("done")).toBe(states.length - 1);
    expect(requestIds(incident).size).toBe(1);
    expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
  });

  test("counts once where the server did it and its answer was lost", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    await sandbox.line({ mode: "lost", times: 1, path: `/v1/incidents/${incident}:acknowledge` });
    await tapInApp(incident);
    const done = (await toldDone()).at(-1);
    expect(done?.answer).toMatchObject({ state: "STATE_ACKNOWLEDGED", holder: "Ann" });
    expect(calls(incident)).toHaveLength(2);
    expect(requestIds(incident).size).toBe(1);
    expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
  });

  test("waits as long as a busy server asks", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    await sandbox.line({ mode: "error", status: 503, retry_after: 3, times: 1, path: `/v1/incidents/${incident}:acknowledge` });
    await tapInApp(incident);
    await toldDone();
    const [first, second] = calls(incident);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(2900);
  });

  test("is repeated when the server fails, and told why", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    await sandbox.line({ mode: "error", status: 500, times: 2, path: `/v1/incidents/${incident}:acknowledge` });
    await tapInApp(incident);
    const taps = await toldDone();
    expect(taps.find((t) => t.problem)?.problem).toMatchObject({ remedy: "retry" });
    expect(calls(incident)).toHaveLength(3);
  });

  test("is refused when the server says no", async () => {
    const { ann } = w;
    const tap = await ann.page.evaluate(async () =>
      client.taps.wait(await tocsin.acknowledge(client.taps, { name: "incidents/00a00000000000000none" })),
    );
    expect(tap).toMatchObject({ state: "refused", problem: { remedy: "remove", reason: "INCIDENT_NOT_FOUND" } });
  });
});

describe("a tap that waits", () => {
  test.each([
    ["ahead", 3_600_000],
    ["back", -3_600_000],
  ])("is neither lost nor held up when the clock is set %s", async (_, skew) => {
    const { ann, sandbox } = w;
    const incident = await tapOffLine();
    await ann.page.evaluate((skew) => {
      Object.assign(client.app.clock, { read: () => Date.now() + skew });
    }, skew);
    await sandbox.line({ mode: "up" });
    expect((await toldDone()).map((t) => t.state)).not.toContain("given_up");
    expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
    await ann.back();
  });

  test("is not given up while another page or the worker has a call of it under way", async () => {
    const { ann } = w;
    const incident = await tapOffLine();
    await ann.page.evaluate(async (key) => {
      const { locks } = navigator;
      const ask = locks.request.bind(locks) as (name: string, ...more: unknown[]) => Promise<unknown>;
      const asked: string[] = [];
      await new Promise<void>((held) => {
        void ask(`tocsin ${key}`, () => {
          held();
          return new Promise<void>((letGo) => Object.assign(globalThis, { asked, letGo }));
        });
      });
      Object.assign(locks, { request: (name: string, ...more: unknown[]) => (asked.push(name), ask(name, ...more)) });
      await client.app.store.change("taps", key, (tap) => ({ ...(tap as Tap), until: 0, tries: 1 }));
      void client.taps.hurry();
    }, `acknowledge ${incident}`);
    await until(() => ann.page.evaluate(() => (globalThis as unknown as { asked: string[] }).asked.length >= 2), told);
    expect((await told()).map((t) => t.state)).not.toContain("given_up");
    await ann.page.evaluate(() => {
      (globalThis as unknown as { letGo: () => void }).letGo();
    });
    await until(async () => (await told()).some((t) => t.state === "given_up"), told);
    await ann.back();
  });

  test("is not sent in the name of whoever signs in next, also where it was not stored", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    await sandbox.line({ mode: "down" });
    await ann.page.evaluate(() => {
      const { store } = client.app;
      const change = store.change.bind(store);
      store.change = (kind, ...more) => (kind === "taps" ? Promise.reject(new Error("full")) : change(kind, ...more));
    });
    expect(await tapInApp(incident)).toMatchObject({ stored: false });
    await until(() => calls(incident).length >= 1, told);
    await ann.page.evaluate(() => tocsin.signOut(client.app));
    await sandbox.line({ mode: "up" });
    await ann.join();
    const refused = await until(async () => (await told()).find((t) => t.state === "refused"), told, 20_000);
    expect(refused.problem).toMatchObject({ remedy: "sign_in", reason: "SIGNED_OUT" });
    expect(new Set(calls(incident).map((c) => c.authorization)).size).toBe(1);
    expect((await sandbox.incident(incident)).state).toBe("STATE_TRIGGERED");
    await ann.back();
  });
});

describe("a storage that does not answer", () => {
  test("at a look for what waits loses no tap", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    await ann.page.evaluate(() => {
      const { store } = client.app;
      const all = store.all.bind(store);
      let slow = 3;
      store.all = (kind) => (kind === "taps" && slow-- > 0 ? Promise.reject(new Error("slow")) : all(kind));
    });
    expect(await tapInApp(incident)).toMatchObject({ stored: true });
    await toldDone();
    expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
    await ann.back();
  });

  test("at the start signs nobody out", async () => {
    const { ann } = w;
    const page = await ann.another(() => {
      const open = indexedDB.open.bind(indexedDB);
      let slow = true;
      IDBFactory.prototype.open = (...asked) => {
        const now = slow;
        slow = false;
        return now ? ({} as IDBOpenDBRequest) : open(...asked);
      };
    });
    await until(
      () => page.evaluate((user) => client.app.session?.user === user && !client.app.storageProblem, `users/${ann.user}`),
      () => page.evaluate(() => client.app.storageProblem?.message),
      20_000,
    );
    await page.close();
  });

  test("refuses no tap of whom it does not know to be signed in", async () => {
    const { ann, sandbox } = w;
    const incident = await tapOffLine();
    await ann.page.evaluate(() => Object.assign(client.app, { current: undefined, unread: true }));
    await sandbox.line({ mode: "up" });
    await ann.page.evaluate(() => void client.taps.hurry());
    await until(async () => (await told()).some((t) => t.problem?.message.includes("cannot be read")), told);
    await ann.page.evaluate(() => client.app.refresh().then(() => client.taps.hurry()));
    expect((await toldDone()).map((t) => t.state)).not.toContain("refused");
    expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
  });
});

test("an app that fails at news keeps no tap from being sent", async () => {
  const { ann, sandbox } = w;
  const { incident } = await ann.paged();
  await ann.page.evaluate(() => {
    client.app.listen(() => {
      throw new Error("the app's own mistake");
    });
  });
  await tapInApp(incident);
  await toldDone();
  expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
  await ann.back();
});

describe("what is ended goes on", () => {
  test("after the browser was killed", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    await sandbox.line({ mode: "down" });
    const tap = await tapInApp(incident);
    await until(() => calls(incident).length >= 1, told);
    await ann.kill();
    expect((await sandbox.incident(incident)).state).toBe("STATE_TRIGGERED");
    await sandbox.line({ mode: "up" });
    await ann.open();
    await until(
      async () => (await sandbox.incident(incident)).state === "STATE_ACKNOWLEDGED",
      () => calls(incident),
    );
    expect([...requestIds(incident)]).toEqual([tap.id]);
  });

  test("after the worker was ended, when the browser wakes it", async () => {
    const { ann, sandbox } = w;
    const { incident, card } = await ann.paged();
    await sandbox.line({ mode: "down" });
    void ann.tap(card.tag, "ack").catch(() => undefined); // the worker is ended under it
    expect(await ann.says(incident, /^Acknowledging/)).toMatchObject({ silent: true });
    await until(
      () => actionIds(card.data["d"]).size > 0,
      () => ann.cards(),
    );
    await ann.page.goto("about:blank"); // the page would do it
    await ann.stopWorker();
    await sandbox.line({ mode: "up" });
    await ann.sync();
    await until(
      async () => (await sandbox.incident(incident)).state === "STATE_ACKNOWLEDGED",
      () => ann.site.calls("/v1/push/actions"),
    );
    await ann.back();
    await ann.says(incident, /acknowledged/i);
    expect(actionIds(card.data["d"]).size).toBe(1);
    expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
  });

  test("receipts are reported when the network is back", async () => {
    const { ann, sandbox } = w;
    await sandbox.line({ mode: "error", status: 502, path: "/v1/push/receipts" });
    const { card } = await ann.paged();
    const reports = () => ann.site.calls("/v1/push/receipts").filter((c) => c.body.includes(card.data["d"] as string));
    await until(
      () => reports().length > 0,
      () => ann.site.seen,
    );
    await ann.stopWorker();
    await sandbox.line({ mode: "up" });
    await ann.sync();
    await until(() => reports().some((c) => c.status === 200), reports);
    await until(async () => (await ann.kept()).receipts.length === 0, reports); // the worker has the answer a little later
  });
});

describe("a tap on a notification that nothing confirms", () => {
  test("is said to be none after 15 seconds, aloud, and done when it is", async () => {
    const { ann, sandbox } = w;
    const { incident, card } = await ann.paged();
    await sandbox.line({ mode: "silent" });
    const tapped = ann.tap(card.tag, "ack");
    expect(await ann.says(incident, /^Acknowledging/)).toMatchObject({ silent: true, actions: [] });
    const alarm = await ann.says(incident, /^NOT acknowledged yet/, 20_000);
    expect(alarm).toMatchObject({ silent: false, tag: card.tag, actions: ["ack", "open"] });
    await sandbox.line({ mode: "up" });
    await tapped;
    expect(await ann.says(incident, /acknowledged/i)).toMatchObject({ silent: true });
    expect((await sandbox.incident(incident)).state).toBe("STATE_ACKNOWLEDGED");
    expect(actionIds(card.data["d"]).size).toBe(1);
  });
});

describe("a full disk", () => {
  test("does not keep a tap from being sent, and the app is told", async () => {
    const { ann } = w;
    const { incident } = await ann.paged();
    await ann.kill();
    await ann.open(true);
    const said = await ann.page.evaluate(async (name) => {
      const news: string[] = [];
      client.app.listen((n) => news.push(n.type));
      const tap = await tocsin.acknowledge(client.taps, { name });
      return { tap, settled: await client.taps.wait(tap), news };
    }, `incidents/${incident}`);
    expect(said.tap).toMatchObject({ stored: false, state: "acting" });
    expect(said.settled).toMatchObject({ state: "done", answer: { state: "STATE_ACKNOWLEDGED" } });
    expect(said.news).toContain("storage");
    await ann.kill();
    await ann.open();
  });

  test("does not use an enrolment link up", async () => {
    const { ann, sandbox } = w;
    await ann.page.evaluate(() => tocsin.signOut(client.app));
    const code = await sandbox.code(ann.user);
    const enrol = () =>
      ann.page.evaluate(
        async (code) =>
          tocsin.enrol(client.app, { origin: location.origin, code }).then(
            (session) => session.user,
            (error: unknown) => `${(error as Error).name}: ${(error as Error).message}`,
          ),
        code,
      );
    await ann.kill();
    await ann.open(true);
    expect(await enrol()).toMatch(/^StorageError: .*full/);
    await ann.kill();
    await ann.open();
    expect(await enrol()).toBe(`users/${ann.user}`);
  });
});
