import { expect, test } from "vitest";
import { EventReader } from "./events.js";

const stream =
  [
    ": a comment",
    "id: c0",
    "event: change",
    'data: {"cursor":"c0"}',
    "",
    "id: c1",
    "event: heartbeat",
    "data: {}",
    "",
    "data:one",
    "data: two",
    "",
    "event: nothing",
    "",
    "id",
    "data: last",
    "",
  ].join("\n") + "\n";

const want = [
  { id: "c0", event: "change", data: '{"cursor":"c0"}' },
  { id: "c1", event: "heartbeat", data: "{}" },
  { id: "c1", event: "message", data: "one\ntwo" },
  { id: "", event: "message", data: "last" },
];

test.each(["\n", "\r", "\r\n"])("events are read, however the chunks are cut and the lines end (%j)", (end) => {
  const text = stream.replaceAll("\n", end) + (end === "\r" ? "\n" : ""); // a last carriage return waits for its line feed
  for (let cut = 1; cut <= 40; cut++) {
    const reader = new EventReader();
    const events = [];
    for (let at = 0; at < text.length; at += cut) {
      events.push(...reader.read(text.slice(at, at + cut)));
    }
    expect(events).toEqual(want);
  }
});

test("an event that has not ended is not told", () => {
  const reader = new EventReader();
  expect(reader.read("data: half\n")).toEqual([]);
  expect(reader.read("\n")).toEqual([{ id: "", event: "message", data: "half" }]);
});
