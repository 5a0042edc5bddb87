import { afterEach, describe, expect, test } from "vitest";
import { until, type Shown } from "./phone.js";
import { vectors } from "./vectors.js";
import { world } from "./world.js";

const w = world("ann");

interface Payload {
  notification: { title: string; tag: string; body: string; silent?: boolean; data: Record<string, unknown> };
}

interface Case {
  name: string;
  browser: string;
  payload: Payload;
  want: { title: string; body: string; tag: string; audible: boolean; replaces_the_page: boolean; delivery_id: string; offers_acknowledge: boolean };
}

/** A push as the server makes it, at a time that is now. */
function push(change: (data: Record<string, unknown>, n: Payload["notification"]) => void = () => undefined): Payload {
  const page = structuredClone(vectors<Case>("webpush.json").find((c) => c.name === "page")?.payload) as Payload;
  const { notification } = page;
  const id = crypto.randomUUID().replaceAll("-", "").slice(0, 20);
  notification.tag = `inc-${id}`;
  Object.assign(notification.data, { d: crypto.randomUUID(), i: id, x: Math.round(Date.now() / 1000) + 600 });
  change(notification.data, notification);
  return page;
}

/** Waits until a push was shown. */
function seen(p: Payload): Promise<boolean> {
  const key = `d ${String(p.notification.data["d"])}`;
  return until(
    () => w.ann.page.evaluate((key) => client.app.store.get("seen", key).then((s) => s !== undefined), key),
    () => w.ann.cards(),
  );
}

/** Hands a push over, and returns what is on the screen once it was shown. */
async function shown(p: Payload): Promise<Shown | undefined> {
  await w.ann.deliver(p);
  await seen(p);
  return (await w.ann.cards()).find((c) => c.tag === p.notification.tag);
}

/** The states and reasons that were reported of a delivery. */
function reported(delivery: unknown) {
  return until(
    () => {
      const bodies = w.ann.site.calls("/v1/push/receipts").filter((c) => c.status === 200);
      const all = bodies.flatMap((c) => (JSON.parse(c.body) as { receipts: { deliveryId: string; state: string; reason?: string }[] }).receipts);
      const own = all.filter((r) => r.deliveryId === delivery).map((r) => [r.state, r.reason ?? ""].filter(Boolean).join(" "));
      return own.length > 0 && own;
    },
    () => w.ann.site.calls("/v1/push/receipts"),
  );
}

describe("the vectors", () => {
  for (const browser of ["any", "declarative"]) {
    test(`are shown as they say (${browser})`, async () => {
      for (const { payload, want } of vectors<Case>("webpush.json").filter((c) => c.browser === browser)) {
        payload.notification.data["x"] = Math.round(Date.now() / 1000) + 600;
        const card = await shown(payload);
        expect({ title: card?.title, body: card?.body, audible: card?.silent === false }).toEqual({
          title: want.title,
          body: want.body,
          audible: want.audible,
        });
        expect((await w.ann.cards()).filter((c) => c.tag === want.tag)).toHaveLength(1);
        if (browser === "any") {
          expect(card?.actions.includes("ack")).toBe(want.offers_acknowledge);
        }
      }
    });
  }
});

describe("a push that must not ring", () => {
  test("as it was here before shows quietly, and is reported again", async () => {
    const page = push();
    expect(await shown(page)).toMatchObject({ silent: false });
    const once = (await reported(page.notification.data["d"])).length;
    await w.ann.deliver(page);
    await until(
      async () => (await w.ann.cards()).find((c) => c.tag === page.notification.tag)?.silent,
      () => w.ann.cards(),
    );
    await until(
      async () => (await reported(page.notification.data["d"])).length > once,
      () => reported(page.notification.data["d"]),
    );
    expect((await w.ann.cards()).filter((c) => c.tag === page.notification.tag)).toHaveLength(1);
  });

  test("as its clear has overtaken it leaves the clear on the screen", async () => {
    const page = push((data) => (data["r"] = 3));
    const clear = structuredClone(page);
    Object.assign(clear.notification, { title: "Acknowledged", body: "by Ben Baker", silent: true, actions: [], vibrate: undefined });
    Object.assign(clear.notification.data, { k: "clear", r: 4, d: crypto.randomUUID(), u: undefined });
    await shown(clear);
    expect(await shown(page)).toMatchObject({ title: "Acknowledged", silent: true });
    expect(await reported(page.notification.data["d"])).toEqual(["STATE_RECEIVED", "STATE_SUPPRESSED stale"]);
  });

  test("as it is late is shown as missed", async () => {
    const page = push((data) => (data["x"] = Math.round(Date.now() / 1000) - 60));
    expect(await shown(page)).toMatchObject({ title: "Missed: CRITICAL Payments", silent: true });
    expect(await reported(page.notification.data["d"])).toEqual(["STATE_RECEIVED", "STATE_SUPPRESSED expired"]);
  });
});

describe("a clock that is an hour off", () => {
  test.each([
    ["ahead", 3_600_000],
    ["behind", -3_600_000],
  ])("%s does not silence a page, nor let a late one ring", async (_, skew) => {
    await w.ann.stopWorker();
    await w.ann.order({ skew });
    expect(await shown(push())).toMatchObject({ silent: false });
    const late = push((data) => (data["x"] = Math.round(Date.now() / 1000) - 60));
    if (skew > 0) {
      expect(await shown(late)).toMatchObject({ silent: true }); // the other way it needs to have heard the server
    }
    const { incident, card } = await w.ann.paged();
    await w.ann.tap(card.tag, "ack");
    expect((await w.sandbox.incident(incident)).state).toBe("STATE_ACKNOWLEDGED");
    await w.ann.stopWorker();
  });
});

describe("a page that comes while one is answered", () => {
  afterEach(() => w.ann.stopWorker()); // it shall be slow no more

  test("is not looked for while it is being shown", async () => {
    const [first, second] = [push(), push()];
    await shown(first);
    await w.ann.order({ slow: 300 });
    await w.ann.deliver(second);
    await Promise.all([w.ann.tap(first.notification.tag, "ack"), seen(second)]);
    await w.ann.order({ calm: true });
    expect((await w.ann.cards()).map((c) => c.tag)).toEqual(expect.arrayContaining([first, second].map((p) => p.notification.tag)));
  });

  test("is not covered by the answer", async () => {
    const first = push((data) => (data["r"] = 1));
    const second = structuredClone(first);
    Object.assign(second.notification.data, { d: crypto.randomUUID(), r: 2 });
    await shown(first);
    await w.ann.order({ slow: 300 });
    const tapped = w.ann.tap(first.notification.tag, "ack");
    await w.ann.order({ looks: 2 }); // the test's own, and the worker's before it shows the tap
    await w.ann.deliver(second);
    await Promise.all([tapped, seen(second)]);
    expect((await w.ann.cards()).find((c) => c.tag === first.notification.tag)).toMatchObject({
      title: second.notification.title,
      data: { d: second.notification.data["d"] },
    });
  });
});

test("a page that cannot be read shows all the same, and leads to the app", async () => {
  for (const rubbish of ["no object", {}, { notification: {} }]) {
    await w.ann.deliver(rubbish);
    expect(await w.ann.card((c) => c.title === "You may be needed")).toMatchObject({ silent: false });
  }
});

test("a page for somebody who has signed out tells nothing, and is the last", async () => {
  const { ann } = w;
  const session = await ann.page.evaluate(async () => {
    const session = client.app.session;
    await client.app.store.delete("things", "session"); // a browser without a network could not end its subscription
    await client.app.refresh();
    return session;
  });
  await ann.stopWorker();
  await ann.deliver(push((_, notification) => (notification.body = "secret")));
  const card = await ann.card((c) => c.title === "Not signed in");
  expect(card).toMatchObject({ silent: false, actions: [], data: { k: "page" } });
  expect(JSON.stringify(await ann.cards())).not.toContain("secret");
  await until(
    () => ann.site.subscribed === "",
    () => ann.site.subscribed,
  );
  await ann.page.evaluate((session) => client.app.signIn(session as NonNullable<typeof session>), session);
  await ann.stopWorker();
});

test("a page where all that was stored is lost shows what it says", async () => {
  const { ann } = w;
  await ann.page.evaluate(async () => {
    await client.app.store.delete("things", ["session", "install"]);
    await client.app.refresh();
  });
  await ann.stopWorker();
  const page = push();
  expect(await shown(page)).toMatchObject({ silent: false, title: page.notification.title, actions: ["ack", "open"] });
});

describe("a sealed page", () => {
  test("shows what was sealed, and can be acknowledged", async () => {
    const { ann, sandbox } = w;
    await ann.join("PRIVACY_SEALED");
    const { incident, card } = await ann.paged();
    expect(card.data["e"]).toBeTypeOf("string");
    expect(`${card.title} ${card.body}`).toContain("Disk full on db1");
    await ann.tap(card.tag, "ack");
    expect((await sandbox.incident(incident)).state).toBe("STATE_ACKNOWLEDGED");
  });

  test("that was not opened in time shows what came in the clear, and its key stays", async () => {
    const { ann } = w;
    await ann.join("PRIVACY_SEALED");
    await ann.stopWorker();
    await ann.order({ stuck: true });
    const { card } = await ann.paged();
    expect(`${card.title} ${card.body}`).not.toContain("Disk full");
    expect(await reported(card.data["d"])).toEqual(["STATE_RECEIVED", "STATE_DISPLAYED"]);
    await ann.stopWorker();
  });

  test("that does not open shows what came in the clear, says so, and gets a new key", async () => {
    const { ann } = w;
    await ann.join("PRIVACY_SEALED");
    const before = await ann.page.evaluate(() => tocsin.getDevice(client.app).then((d) => d.sealKeyId));
    await ann.page.evaluate(async () => {
      const keys = (await client.app.store.get("things", "seal")) as { current: { privateKey: CryptoKey } };
      const other = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"]);
      await client.app.store.put("things", "seal", { current: { ...keys.current, privateKey: other.privateKey } });
    });
    const { card } = await ann.paged();
    expect(`${card.title} ${card.body}`).not.toContain("Disk full");
    const reports = await reported(card.data["d"]);
    expect(reports).toContain("STATE_RECEIVED decrypt");
    await until(
      () => ann.page.evaluate((before) => tocsin.getDevice(client.app).then((d) => d.sealKeyId !== before && !d.sealKeyFailedTime), before),
      () => ann.page.evaluate(() => tocsin.getDevice(client.app)),
      20_000,
    );
  });
});
