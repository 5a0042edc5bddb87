import { describe, expect, test } from "vitest";
import type { Session, TocsinError } from "../src/index.js";
import { until } from "./phone.js";
import { world } from "./world.js";

const w = world("ann", "ben");

/** Joins by a code, and returns what is true then. */
const join = (code: string) =>
  w.ann.page.evaluate(
    async (code): Promise<Session | Pick<TocsinError, "reason" | "remedy" | "status">> =>
      tocsin.enrol(client.app, { origin: location.origin, code }).catch((error: unknown) => {
        const { reason, remedy, status } = error as TocsinError;
        return { reason, remedy, status };
      }),
    code,
  );

describe("a link", () => {
  test("says whose device it makes, and is good once", async () => {
    const { ann, sandbox } = w;
    const user = await sandbox.hire("ann", "PRIVACY_FULL");
    const code = await sandbox.code(user);
    const preview = await ann.page.evaluate((code) => tocsin.previewEnrolment(client.app, { origin: location.origin, code }), code);
    expect(preview).toMatchObject({ user: `users/${user}`, userDisplayName: "Ann", organization: "The Sandbox" });
    expect(await join(code)).toMatchObject({ user: `users/${user}`, organization: "The Sandbox" });
    const before = await ann.page.evaluate(() => client.app.session);
    expect(await join(code)).toEqual({ reason: "ENROLMENT_CODE", remedy: "fix", status: 401 });
    expect(await ann.page.evaluate(() => client.app.session)).toEqual(before); // whoever was signed in still is
  });

  test("is good also where too many knock at the moment, and nobody is left signed out", async () => {
    const { ann, sandbox } = w;
    const user = await sandbox.hire("ann", "PRIVACY_FULL");
    const code = await sandbox.code(user);
    await sandbox.line({ mode: "error", status: 429, retry_after: 1, times: 1, path: "/v1/devices:enrol" });
    expect(await join(code)).toMatchObject({ user: `users/${user}` });
    const last = ann.site.calls("/v1/devices:").slice(-4);
    expect(last.filter((c) => /:(preview)?enrol/i.test(c.path)).map((c) => [c.path, c.status])).toEqual([
      ["/v1/devices:previewEnrolment", 200],
      ["/v1/devices:enrol", 429],
      ["/v1/devices:enrol", 200],
    ]);
  });

  test("of another server is refused here", async () => {
    const said = await w.ann.page.evaluate(() => {
      try {
        void tocsin.previewEnrolment(client.app, tocsin.readLink("https://evil.example/enrol#0123456789abcdef"));
        return "";
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(said).toContain("https://evil.example");
  });

  test("that is none says what one looks like", async () => {
    for (const link of [
      "",
      "x",
      "https://a.example/",
      "https://a.example/enrol",
      "https://a.example/enrol#short",
      "javascript:enrol#0123456789abcdef",
    ]) {
      const said = await w.ann.page.evaluate((link) => {
        try {
          return JSON.stringify(tocsin.readLink(link));
        } catch (error) {
          return (error as Error).message;
        }
      }, link);
      expect(said).toContain('"https://…/enrol#…"');
    }
  });
});

describe("a device", () => {
  test("registers what it knows, and is seen to be reachable", async () => {
    const { ann, sandbox } = w;
    const session = await ann.page.evaluate(() => client.app.session);
    const device = await sandbox.admin(`/v1/${session?.device ?? ""}`);
    expect(device).toMatchObject({
      platform: "PLATFORM_WEB",
      appId: "oncall",
      state: "STATE_ACTIVE",
      permission: "PERMISSION_GRANTED",
      appVersion: "1.0",
      model: "Chrome on Linux",
      address: { kind: "KIND_WEB_PUSH" },
    });
    expect((device as { sealKey: string }).sealKey).not.toBe("");
  });

  test("that is registered again keeps the name that its person gave it", async () => {
    const { ann, sandbox } = w;
    const device = await ann.page.evaluate(() => client.app.session?.device ?? "");
    await ann.page.evaluate(async () => {
      await client.app.api.send("patch", "/v1/devices/me", { body: { displayName: "The laptop" } });
      await tocsin.checkPushes(client.app);
    });
    expect(await sandbox.admin(`/v1/${device}`)).toMatchObject({ displayName: "The laptop", appId: "oncall", state: "STATE_ACTIVE" });
  });

  test("that has lost its subscription makes a new one at the start", async () => {
    const { ann } = w;
    const before = ann.site.subscribed;
    await fetch(`${ann.site.origin}/stub/subscription`, { method: "DELETE" });
    expect(await ann.page.evaluate(() => tocsin.checkPushes(client.app))).toMatchObject({ state: "on", device: { state: "STATE_ACTIVE" } });
    expect(ann.site.subscribed).not.toBe(before);
    await ann.paged();
  });

  test("whose subscription the browser has changed registers it in the worker", async () => {
    const { ann } = w;
    await fetch(`${ann.site.origin}/stub/subscription`, { method: "DELETE" });
    await ann.page.goto("about:blank");
    await ann.back();
    await ann.order({ resubscribe: true });
    expect(ann.site.subscribed).not.toBe("");
    await ann.paged();
  });

  test("says that the person does not allow notifications", async () => {
    const { ann, sandbox } = w;
    const device = await ann.page.evaluate(() => client.app.session?.device ?? "");
    await ann.allow(false);
    expect((await ann.page.evaluate(() => tocsin.checkPushes(client.app))).state).toMatch(/^(blocked|off)$/);
    expect(await sandbox.admin(`/v1/${device}`)).toMatchObject({ health: "HEALTH_RED", appId: "oncall" });
    await ann.allow(true);
    expect(await ann.page.evaluate(() => tocsin.checkPushes(client.app))).toMatchObject({ state: "on" });
    expect(await sandbox.admin(`/v1/${device}`)).toMatchObject({ permission: "PERMISSION_GRANTED" });
  });
});

describe("a test", () => {
  test("passes when it was received and the person says that he heard it", async () => {
    const { ann } = w;
    const verdict = ann.page.evaluate(async () => {
      const test = await tocsin.sendTest(client.app);
      const states = [];
      for await (const state of tocsin.watchTest(client.app.api, test.name ?? "")) {
        states.push(state.verdict ?? "");
      }
      return states.at(-1);
    });
    const card = await ann.card((c) => c.data["k"] === "test");
    expect(card.actions).toEqual(["heard", "open"]);
    await ann.tap(card.tag, "heard");
    expect(await verdict).toBe("VERDICT_PASSED");
    expect(await ann.card((c) => c.tag === card.tag)).toMatchObject({ title: "The test has passed", silent: true });
  });
});

describe("a device that is taken out", () => {
  test("forgets everything, and says so", async () => {
    const { ann, sandbox } = w;
    await ann.paged();
    const device = await ann.page.evaluate(() => client.app.session?.device ?? "");
    await sandbox.revoke(device);
    await ann.card((c) => c.title === "Signed out");
    await until(
      () => ann.page.evaluate(() => client.app.session === undefined),
      () => ann.page.evaluate(() => client.app.session),
    );
    await until(
      async () => (await ann.kept()).things.length === 0,
      () => ann.kept(),
    );
    expect((await ann.kept()).taps).toEqual([]);
    await until(
      async () => ann.site.subscribed === "" && (await ann.cards()).every((c) => c.title === "Signed out"),
      () => ann.cards(),
    );
    await until(
      () => ann.page.evaluate(() => document.body.innerText.includes("signed out")),
      () => ann.page.evaluate(() => document.body.innerText),
    );
  });

  test("learns it from the next call, where the push was lost", async () => {
    const { ann, sandbox } = w;
    ann.offline = true;
    const device = await ann.page.evaluate(() => client.app.session?.device ?? "");
    await sandbox.revoke(device);
    const error = await until(
      () =>
        ann.page.evaluate(() =>
          tocsin.getDevice(client.app).then(
            () => false as const,
            (e: unknown) => ({ remedy: (e as TocsinError).remedy, reason: (e as TocsinError).reason }),
          ),
        ),
      () => ann.kept(),
    );
    expect(error).toMatchObject({ remedy: expect.stringMatching(/sign_in|fix/) as string });
    await until(
      async () => (await ann.kept()).things.length === 0,
      () => ann.kept(),
    );
    expect(await ann.page.evaluate(() => client.app.session)).toBeUndefined();
    ann.offline = false;
  });

  test("by the person here is out at once, and the server is told", async () => {
    const { ann, sandbox } = w;
    const device = await ann.page.evaluate(() => client.app.session?.device ?? "");
    expect(await ann.page.evaluate(() => tocsin.signOut(client.app))).toBe(true);
    expect(await sandbox.admin(`/v1/${device}`)).toMatchObject({ state: "STATE_REVOKED" });
    expect((await ann.kept()).things).toEqual([]);
  });

  test("by the person here is out also while a push service does not answer", async () => {
    const { ann, sandbox } = w;
    const device = await ann.page.evaluate(() => client.app.session?.device ?? "");
    await fetch(`${ann.site.origin}/stub/subscription`, { method: "DELETE" });
    ann.site.silent = true;
    await ann.page.evaluate(() => void tocsin.checkPushes(client.app).catch(() => undefined));
    await until(
      () => ann.page.evaluate(() => navigator.locks.query().then(({ held }) => held?.some((lock) => lock.name === "tocsin pushes"))),
      () => ann.site.seen,
    );
    expect(await ann.page.evaluate(() => tocsin.signOut(client.app))).toBe(true);
    expect((await ann.kept()).things).toEqual([]);
    expect(await sandbox.admin(`/v1/${device}`)).toMatchObject({ state: "STATE_REVOKED" });
    ann.site.silent = false;
    await ann.back(); // the subscription under way ends with its page
    expect(await ann.join()).toMatchObject({ state: "on" });
  });

  test("by the person here is out also when the server cannot be told, and another person can join", async () => {
    const { ann, sandbox } = w;
    await sandbox.line({ mode: "down" });
    expect(await ann.page.evaluate(() => tocsin.signOut(client.app))).toBe(false);
    expect((await ann.kept()).things).toEqual([]);
    expect(ann.site.subscribed).toBe("");
    await sandbox.line({ mode: "up" });
    expect(await ann.join()).toMatchObject({ state: "on", device: { user: `users/${ann.user}` } });
  });
});

test("somebody else's subscription on the same browser is not taken over, but made anew", async () => {
  const { ann, ben, sandbox } = w;
  const device = await ann.page.evaluate(() => client.app.session?.device ?? "");
  ben.site.lend(ann.site); // Ben signs in where Ann's subscription still is, and her credential is lost
  await ben.page.evaluate(() => tocsin.checkPushes(client.app));
  expect(ben.site.subscribed).not.toBe(ann.site.subscribed);
  expect(await sandbox.admin(`/v1/${device}`)).toMatchObject({ state: "STATE_ACTIVE" });
  await ben.paged();
});

test("the end of a stream that the one before had opened does not sign the next one out", async () => {
  const { ann } = w;
  const ended = ann.page.evaluate(async () => {
    try {
      for await (const event of tocsin.watchIncidents(client.app.api, {})) {
        void event;
      }
      return "";
    } catch (error) {
      return (error as TocsinError).reason;
    }
  });
  await ann.join(); // which signs the one before out
  await ann.paged();
  expect(await ended).toMatch(/^CREDENTIAL_/);
  expect(await ann.page.evaluate(() => client.app.session?.user)).toBe(`users/${ann.user}`);
});
