import type { Api, Schemas } from "./api.js";
import { rest, waitAfter } from "./backoff.js";
import { isTemporary, TocsinError, unreachable } from "./errors.js";

/** Which incidents are watched. Default: all that the caller may see. */
export interface WatchFilter {
  services?: string[];
  teams?: string[];
  /** "users/me" is the caller. */
  assignees?: string[];
}

/** What a watch tells. */
export type WatchEvent =
  /** The line is open. */
  | { type: "live" }
  /** An incident changed, or began. A change may come twice: compare `revision`. Fields without a value are left out. */
  | { type: "change"; incident: Schemas["Incident"]; changes: string[]; cursor: string }
  /** Nothing happened; the cursor has moved on. */
  | { type: "heartbeat"; cursor: string }
  /** The line is broken; it is tried again in `wait` milliseconds. What is on the screen may be old. */
  | { type: "waiting"; error: TocsinError; wait: number };

/**
 * Tells every change of incidents from the cursor on, over any interruption,
 * until `signal` is aborted. The cursor is that of a list (`watchCursor`), or of
 * the last event. Fails with a {@link TocsinError} only when trying again cannot
 * help: with the remedy `relist` when it was away for over 24 hours.
 */
export async function* watchIncidents(
  api: Api,
  options: WatchFilter & { cursor?: string | undefined; signal?: AbortSignal },
): AsyncGenerator<WatchEvent, void, undefined> {
  const { signal, cursor: from, ...filter } = options;
  let cursor = from ?? "";
  let failures = 0;
  while (!signal?.aborted) {
    let live = false;
    let error: TocsinError = unreachable("the line has ended");
    try {
      for await (const event of api.stream("/v1/incidents:watch", { query: { ...filter, cursor }, lastEventId: cursor, signal })) {
        if (!live) {
          live = true;
          failures = 0;
          yield { type: "live" };
        }
        const said = JSON.parse(event.data) as Schemas["WatchIncidentsResponse"];
        cursor = said.cursor ?? event.id;
        yield said.incident ? { type: "change", incident: said.incident, changes: said.changes ?? [], cursor } : { type: "heartbeat", cursor };
      }
    } catch (e) {
      if (signal?.aborted) {
        return;
      }
      error = e instanceof TocsinError ? e : unreachable("what came over the line is no event", e);
      if (!isTemporary(error)) {
        throw error;
      }
    }
    failures++;
    const wait = waitAfter(failures, error.retryAfter);
    yield { type: "waiting", error, wait };
    await restUntilOnline(wait, signal);
  }
}

/** Tells the states of a test push as they are reached, and ends with its verdict. */
export async function* watchTest(api: Api, test: string, signal?: AbortSignal): AsyncGenerator<Schemas["TestPush"], void, undefined> {
  for (let failures = 1; !signal?.aborted; failures++) {
    try {
      for await (const event of api.stream("/v1/testPushes/{testPush}:watch", { path: { testPush: test }, signal })) {
        failures = 1;
        yield JSON.parse(event.data) as Schemas["TestPush"];
      }
      return;
    } catch (error) {
      if (signal?.aborted) {
        return;
      }
      if (!(error instanceof TocsinError) || !isTemporary(error)) {
        throw error;
      }
      await restUntilOnline(waitAfter(failures, error.retryAfter), signal); // it begins from its first state again
    }
  }
}

/** Waits, and not any longer once the device is on line again, where the browser says so. */
async function restUntilOnline(milliseconds: number, signal?: AbortSignal): Promise<void> {
  const over = new AbortController();
  const online = new Promise<void>((resolve) => {
    if ("addEventListener" in globalThis) {
      const heard = () => {
        resolve();
      };
      addEventListener("online", heard, { once: true, signal: over.signal });
    }
  });
  await rest(milliseconds, signal, online);
  over.abort(); // days off line would pile listeners up
}
