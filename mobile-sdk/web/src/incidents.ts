import { idOf, type Schemas } from "./api.js";
import type { Tap, Taps } from "./taps.js";

export type Incident = Schemas["Incident"];

/** Takes the incident in hand. The tap is kept until the server has its word. */
export function acknowledge(taps: Taps, incident: Pick<Incident, "name">): Promise<Tap> {
  return taps.tap(wish("acknowledge", incident, {}));
}

/** Ends the incident, as it is on the screen: when it has moved on, the tap is refused with the remedy `decide`. */
export function resolve(taps: Taps, incident: Pick<Incident, "name" | "etag">, note?: string): Promise<Tap> {
  return taps.tap(wish("resolve", incident, { ...etag(incident), ...(note ? { note } : {}) }));
}

/** "Can't take it": pages the level after the one on the screen, and not the one after that for a double tap. */
export function escalate(taps: Taps, incident: Pick<Incident, "name" | "escalation">): Promise<Tap> {
  const level = incident.escalation?.level ?? 0;
  return taps.tap(wish("escalate", incident, level > 0 ? { expectedLevel: level } : {}));
}

function etag(incident: Pick<Incident, "etag">): { etag?: string } {
  return incident.etag ? { etag: incident.etag } : {};
}

function wish(verb: Tap["verb"], incident: Pick<Incident, "name">, body: Record<string, unknown>) {
  const id = idOf(incident.name ?? "");
  if (id === "") {
    throw new TypeError(`${verb}: the incident has no name`);
  }
  return {
    verb,
    incident: id,
    call: (requestId: string, clientTime: string) => ({ path: `/v1/incidents/${id}:${verb}`, body: { ...body, requestId, clientTime } }),
  };
}
