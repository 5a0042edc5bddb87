import { afterEach, expect, test, vi } from "vitest";
import type { Api } from "./api.js";
import { unreachable } from "./errors.js";
import { watchIncidents } from "./watch.js";

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("listeners for the network do not pile up", async () => {
  vi.useFakeTimers();
  let listening = 0;
  vi.stubGlobal("addEventListener", (_: string, __: unknown, { signal }: { signal: AbortSignal }) => {
    listening++;
    signal.addEventListener("abort", () => listening--);
  });
  const stop = new AbortController();
  // eslint-disable-next-line require-yield
  const stream = async function* () {
    await Promise.resolve();
    throw unreachable("off line");
  };
  const events = watchIncidents({ stream } as unknown as Api, { signal: stop.signal });
  for (let i = 0; i < 5; i++) {
    const next = events.next();
    await vi.advanceTimersByTimeAsync(40_000);
    expect((await next).value).toMatchObject({ type: "waiting" });
    expect(listening).toBe(0);
  }
  stop.abort();
});
