import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { App } from "./app.js";
import { enrol } from "./device.js";

beforeEach(() => {
  vi.stubGlobal("navigator", { language: "en", userAgent: "" });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

test("the next person's device is told no key of the one before", async () => {
  const things = new Map<string, unknown>();
  const told: Record<string, unknown>[] = [];
  const app = {
    session: { device: "devices/ann", credential: "ann" } as unknown,
    options: {},
    store: {
      name: "devices",
      get: (_: string, key: string) => Promise.resolve(things.get(key)),
      put: (_: string, key: string, value: unknown) => Promise.resolve(void things.set(key, value)),
      delete: (_: string, key: string) => Promise.resolve(void things.delete(key)),
      change: (_: string, key: string, how: (old: unknown) => unknown) => {
        const value = how(things.get(key));
        things.set(key, value);
        return Promise.resolve(value);
      },
    },
    keep: (storing: Promise<unknown>) => storing,
    installId: () => Promise.resolve("install"),
    wipe: () => {
      things.clear();
      app.session = undefined;
      return Promise.resolve();
    },
    signIn: (session: unknown) => {
      app.session = session;
      return Promise.resolve();
    },
    api: {
      origin: "https://tocsin.example.com",
      post: (path: string, args: { body: { device?: Record<string, unknown> } }) => {
        if (path === "/v1/devices:enrol") {
          told.push(args.body.device ?? {});
        }
        return Promise.resolve({ credential: "ben", device: { name: "devices/ben" } });
      },
    },
  };
  await enrol(app as unknown as App, { origin: "https://tocsin.example.com", code: "0123456789abcdef" });
  expect(told).toHaveLength(1);
  expect(told[0]?.["sealKey"]).toBeUndefined();
  expect(app.session).toMatchObject({ device: "devices/ben", credential: "ben" });
});
