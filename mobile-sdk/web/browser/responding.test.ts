import { afterEach, describe, expect, test } from "vitest";
import { until } from "./phone.js";
import { world } from "./world.js";

const w = world("ann", "ben");

describe("a page", () => {
  test("is shown, reported, and acknowledged from the notification", async () => {
    const { ann, sandbox } = w;
    const { incident, card } = await ann.paged();
    expect(card).toMatchObject({ silent: false, actions: ["ack", "open"] });
    await until(
      async () => {
        const { deliveries } = (await sandbox.admin(`/v1/incidents/${incident}/deliveries`)) as { deliveries: { state: string }[] };
        return deliveries.some((d) => d.state === "STATE_DISPLAYED");
      },
      () => ann.site.calls("/v1/push/receipts"),
    );
    await ann.tap(card.tag, "ack");
    expect(await sandbox.incident(incident)).toMatchObject({ state: "STATE_ACKNOWLEDGED", acknowledgements: [{ user: `users/${ann.user}` }] });
    expect(await ann.says(incident, /acknowledged/i)).toMatchObject({ silent: true, tag: card.tag });
  });

  test("is answered by its action token where the credential was lost", async () => {
    const { ann, sandbox } = w;
    const { incident, card } = await ann.paged();
    const session = await ann.page.evaluate(async () => {
      const session = client.app.session;
      await client.app.store.delete("things", "session");
      await client.app.refresh();
      return session;
    });
    await ann.stopWorker();
    await ann.tap(card.tag, "ack");
    const call = ann.site.calls("/v1/push/actions").at(-1);
    expect(call?.authorization).toBe("");
    expect(JSON.parse(call?.body ?? "")).toMatchObject({ actionToken: card.data["a"] });
    expect(await sandbox.incident(incident)).toMatchObject({ state: "STATE_ACKNOWLEDGED" });
    await ann.page.evaluate((session) => client.app.signIn(session as NonNullable<typeof session>), session);
    await ann.stopWorker();
  });

  test("opens the app when it is tapped, and says so", async () => {
    const { ann } = w;
    const { incident, card } = await ann.paged();
    const opened = ann.page.evaluate(
      () =>
        new Promise((resolve) => {
          client.app.listen((news) => {
            if (news.type === "open") {
              resolve(news.incident);
            }
          });
        }),
    );
    await ann.tap(card.tag, "");
    expect(await opened).toBe(incident);
    await until(
      () => ann.site.calls("/v1/push/receipts").some((c) => c.body.includes("STATE_OPENED") && c.body.includes(card.data["d"] as string)),
      () => ann.site.calls("/v1/push/receipts"),
    );
  });
});

describe("a browser that is unwell", () => {
  afterEach(() => w.ann.stopWorker()); // the next one is well

  test("sends a tap also where its storage does not answer", async () => {
    const { ann, sandbox } = w;
    const { incident, card } = await ann.paged();
    await ann.stopWorker();
    await ann.order({ stuck: true });
    await ann.tap(card.tag, "ack");
    expect(JSON.parse(ann.site.calls("/v1/push/actions").at(-1)?.body ?? "")).toMatchObject({ actionToken: card.data["a"] });
    expect(await sandbox.incident(incident)).toMatchObject({ state: "STATE_ACKNOWLEDGED" });
    expect(await ann.says(incident, /acknowledged/i)).toMatchObject({ silent: true });
  });

  test("sends a tap also where it shows no cards", async () => {
    const { ann, sandbox } = w;
    const { incident, card } = await ann.paged();
    await ann.order({ dark: true });
    await ann.tap(card.tag, "ack");
    expect(await sandbox.incident(incident)).toMatchObject({ state: "STATE_ACKNOWLEDGED" });
  });

  test("that opens no page leaves the card where it is", async () => {
    const { ann } = w;
    const { incident, card } = await ann.paged();
    await ann.page.goto(`${ann.site.origin}/app/?elsewhere`); // not the page that a card opens; and no test can have a worker open one
    await ann.tap(card.tag, "");
    expect(await ann.pageOf(incident)).toMatchObject({ tag: card.tag, title: card.title });
    await until(
      () => ann.site.calls("/v1/push/receipts").some((c) => c.body.includes("STATE_OPENED") && c.body.includes(card.data["d"] as string)),
      () => ann.site.calls("/v1/push/receipts"),
    );
    await ann.back();
  });
});

describe("two people", () => {
  test("who tap at once learn who has it, and both are right", async () => {
    const { ann, ben, sandbox } = w;
    const incident = await sandbox.open({ users: [ann.user, ben.user] });
    const [hers, his] = await Promise.all([ann.pageOf(incident), ben.pageOf(incident)]);
    await Promise.all([ann.tap(hers.tag, "ack"), ben.tap(his.tag, "ack")]);
    const truth = await sandbox.incident(incident);
    expect(truth.state).toBe("STATE_ACKNOWLEDGED");
    const holder = truth.acknowledgements?.[0]?.displayName ?? "";
    for (const phone of [ann, ben]) {
      const answer = JSON.parse(phone.site.calls("/v1/push/actions").at(-1)?.answer ?? "{}") as { holder: string; holderIsCaller: boolean };
      expect(answer.holder).toBe(holder);
      await phone.says(incident, /acknowledged/i);
    }
  });

  test("see it when one of them has taken it", async () => {
    const { ann, ben, sandbox } = w;
    const incident = await sandbox.open({ users: [ann.user, ben.user] });
    const [hers, his] = await Promise.all([ann.pageOf(incident), ben.pageOf(incident)]);
    await ben.tap(his.tag, "ack");
    const card = await ann.says(incident, /acknowledged by Ben/i);
    expect(card).toMatchObject({ tag: hers.tag, silent: true, actions: [] });
    expect((await ann.cards()).filter((c) => c.tag === hers.tag)).toHaveLength(1);
  });
});

describe("in the app", () => {
  test("a double tap is one", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    const before = ann.site.calls(`/v1/incidents/${incident}:acknowledge`).length;
    const taps = await ann.page.evaluate(async (name) => {
      const both = await Promise.all([1, 2].map(() => tocsin.acknowledge(client.taps, { name })));
      return Promise.all(both.map((tap) => client.taps.wait(tap)));
    }, `incidents/${incident}`);
    expect(taps.map((t) => t.state)).toEqual(["done", "done"]);
    expect(taps[0]?.id).toBe(taps[1]?.id);
    expect(taps[0]?.answer).toMatchObject({ state: "STATE_ACKNOWLEDGED", holder: "Ann" });
    expect(ann.site.calls(`/v1/incidents/${incident}:acknowledge`)).toHaveLength(before + 1);
    expect(await sandbox.times(incident, "TYPE_ACKNOWLEDGED")).toBe(1);
  });

  test("two taps on escalate go one level", async () => {
    const { ann, ben, sandbox } = w;
    const level = (user: string) => ({ targets: [{ name: `users/${user}` }], delay: "1800s" });
    const policy = { displayName: "Two", levels: [level(ann.user), level(ben.user)] };
    await sandbox.admin(`/v1/escalationPolicies?escalationPolicyId=${ann.user}`, policy);
    const incident = await sandbox.open({ policy: ann.user });
    const states = await ann.page.evaluate(async (name) => {
      const incident = await client.app.api.get("/v1/incidents/{incident}", { path: { incident: name } });
      const states = [];
      for (let i = 0; i < 2; i++) {
        states.push((await client.taps.wait(await tocsin.escalate(client.taps, incident))).state);
      }
      return states;
    }, `incidents/${incident}`);
    expect(states).toEqual(["done", "done"]);
    expect((await sandbox.incident(incident)).escalation?.level).toBe(2);
  });

  test("what has moved on is not resolved unseen", async () => {
    const { ann, sandbox } = w;
    const { incident } = await ann.paged();
    const tap = await ann.page.evaluate(async (name) => {
      const seen = await client.app.api.get("/v1/incidents/{incident}", { path: { incident: name } });
      await client.taps.wait(await tocsin.acknowledge(client.taps, seen));
      return client.taps.wait(await tocsin.resolve(client.taps, seen));
    }, `incidents/${incident}`);
    expect(tap).toMatchObject({ state: "refused", problem: { remedy: "decide", reason: "REVISION_MOVED" } });
    expect((await sandbox.incident(incident)).state).toBe("STATE_ACKNOWLEDGED");
  });
});
