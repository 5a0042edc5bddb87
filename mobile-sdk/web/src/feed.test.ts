import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silence } from "./api.js";
import type { App, News } from "./app.js";
import { unreachable } from "./errors.js";
import { IncidentFeed, type FeedState } from "./feed.js";

beforeEach(() => {
  vi.stubGlobal("navigator", {});
});
afterEach(() => {
  vi.unstubAllGlobals();
});

/** What a feed asks of an app. */
function pretend(device: string | undefined) {
  const listeners = new Set<(news: News) => void>();
  const app = {
    store: { name: "feeds" },
    session: device ? { device } : undefined,
    clock: { now: () => 1 },
    listen: (l: (news: News) => void) => {
      listeners.add(l);
      return () => listeners.delete(l);
    },
    api: {
      get: () => Promise.resolve({ incidents: [{ name: `incidents/of-${app.session?.device ?? "nobody"}` }], watchCursor: "c" }),
      // eslint-disable-next-line require-yield
      stream: async function* (_: string, { signal }: { signal: AbortSignal }) {
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            reject(unreachable("stopped"));
          });
        });
      },
    },
  };
  const become = (other: string | undefined) => {
    app.session = other ? { device: other } : undefined;
    listeners.forEach((l) => {
      l({ type: "session" });
    });
  };
  return { app: app as unknown as App, become };
}

const names = (state: FeedState | undefined) => state?.incidents.map((i) => i.name);

test("who signs in next does not see the incidents of the one before", async () => {
  const { app, become } = pretend("devices/ann");
  const states: FeedState[] = [];
  const end = new IncidentFeed(app).listen((s) => states.push(s));
  await vi.waitFor(() => {
    expect(names(states.at(-1))).toEqual(["incidents/of-devices/ann"]);
  });
  become(undefined);
  expect(states.at(-1)).toMatchObject({ incidents: [], status: "ended" });
  const signedOut = states.length;
  become("devices/ben");
  await vi.waitFor(() => {
    expect(names(states.at(-1))).toEqual(["incidents/of-devices/ben"]);
  });
  expect(states.slice(signedOut).flatMap((s) => names(s))).not.toContain("incidents/of-devices/ann");
  end();
});

test("a page that hears nothing from the one that holds the line says so", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  vi.stubGlobal("navigator", { locks: { request: () => new Promise(() => undefined) } });
  const states: FeedState[] = [];
  const end = new IncidentFeed(pretend("devices/ann").app).listen((s) => states.push(s));
  const holder = new BroadcastChannel("feeds feed devices/ann {}");
  const tell = async (asOf: number) => {
    holder.postMessage({ type: "all", incidents: [], cursor: "c", status: "live", asOf });
    await vi.waitFor(() => {
      expect(states.at(-1)).toMatchObject({ status: "live" });
    });
  };
  await tell(7);
  vi.advanceTimersByTime(silence);
  expect(states.at(-1)).toMatchObject({ status: "offline", asOf: 7 });
  await tell(8);
  end();
  holder.close();
  vi.useRealTimers();
});
