import { afterAll, beforeAll, beforeEach, inject } from "vitest";
import { Phone } from "./phone.js";
import { Sandbox } from "./sandbox.js";

/** A server, and the browsers of some people. */
export interface World {
  sandbox: Sandbox;
  ann: Phone;
  ben: Phone;
}

/** Starts a world for the tests of one file. Each begins with people who have just joined, and a line that is up. */
export function world(...people: ("ann" | "ben")[]): World {
  const made = {} as World;
  beforeAll(async () => {
    made.sandbox = new Sandbox(inject("where"));
    for (const person of people) {
      made[person] = await Phone.start(person, made.sandbox);
    }
  });
  beforeEach(async () => {
    await made.sandbox.line({ mode: "up" });
    await Promise.all(people.map((person) => made[person].join()));
  });
  afterAll(async () => {
    for (const person of people) {
      await made[person].stop();
    }
  });
  return made;
}
