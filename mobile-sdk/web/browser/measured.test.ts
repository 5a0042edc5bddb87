import { expect, test } from "vitest";
import { until } from "./phone.js";
import { world } from "./world.js";

const w = world("ann");
const rounds = 10;

/** The middle one. */
function median(all: number[]): number {
  return [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? Infinity;
}

/** The middle one, and the largest. */
function spread(all: number[]): string {
  return `median ${String(median(all))} ms, largest ${String(Math.max(...all))} ms, of ${String(all.length)}`;
}

test("a tap on a notification is at the server within a second, and a push is soon on the screen", { timeout: 120_000 }, async () => {
  const { ann } = w;
  const times = { warm: [] as number[], cold: [] as number[], shown: [] as number[], reported: [] as number[] };
  for (let round = 0; round < 2 * rounds; round++) {
    const kind = round % 2 === 0 ? "warm" : "cold";
    if (round > 0) {
      await ann.join(); // whoever was paged a moment ago is paged more quietly
    }
    const { card } = await ann.paged();
    const delivery = card.data["d"] as string;
    const pushed = ann.delivered.get(delivery) ?? 0;
    const report = await until(
      () => ann.site.calls("/v1/push/receipts").find((c) => c.body.includes(delivery) && c.status === 200),
      () => ann.site.seen,
    );
    const shown = /"deviceAt":"([^"]*)","[^}]*?/.exec(report.body.slice(report.body.indexOf("STATE_DISPLAYED")))?.[1] ?? "";
    times.shown.push(Date.parse(shown) - pushed);
    times.reported.push(report.at - pushed);
    if (kind === "cold") {
      await ann.stopWorker();
    }
    const tapped = Date.now();
    const done = ann.tap(card.tag, "ack");
    const call = await until(
      () => ann.site.calls("/v1/push/actions").find((c) => c.body.includes(delivery)),
      () => ann.site.seen,
    );
    times[kind].push(call.at - tapped);
    await done;
    expect(call.status).toBe(200);
  }
  console.log(`from the tap to the server: ${spread(times.warm)}; with a worker that has to be started: ${spread(times.cold)}`);
  console.log(`from the push: shown ${spread(times.shown)}; reported ${spread(times.reported)}`);
  expect(median(times.warm)).toBeLessThan(1000); // a single one tells more about what else the machine was doing
  expect(median(times.cold)).toBeLessThan(1000);
});
