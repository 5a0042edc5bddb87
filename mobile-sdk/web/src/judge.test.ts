import { expect, test } from "vitest";
import { judge, type Verdict } from "./judge.js";
import { vectors } from "../browser/vectors.js";

interface Arrival {
  delivery_id: string;
  kind: string;
  incident_id: string;
  revision: number;
  expires: string;
  at: string;
  want: Verdict;
}

test.each(vectors<{ name: string; arrivals: Arrival[] }>("replays.json"))("$name", ({ arrivals }) => {
  const deliveries = new Set<string>();
  const newest = new Map<string, number>();
  for (const a of arrivals) {
    const known = { delivered: deliveries.has(a.delivery_id), newest: newest.get(a.incident_id) };
    expect(judge({ kind: a.kind, revision: a.revision, deadline: Date.parse(a.expires) }, known, Date.parse(a.at))).toBe(a.want);
    deliveries.add(a.delivery_id);
    newest.set(a.incident_id, Math.max(a.revision, newest.get(a.incident_id) ?? 0));
  }
});
