import { afterAll, beforeAll, beforeEach } from "vitest";
import { Phone } from "./phone.js";
import { Sandbox } from "./sandbox.js";
import { Site } from "./site.js";

/** A server, and the browsers of some people. */
export interface World {
  sandbox: Sandbox;
  ann: Phone;
  ben: Phone;
}

/** Starts a world for the tests of one file. Each begins with people who have just joined, and a line that is up. */
export function world(...people: ("ann" | "ben")[]): World {
  const made = {} as World;
  const sites: Site[] = [];
  beforeAll(async () => {
    for (const person of people) {
      sites.push(await Site.start(person));
    }
    made.sandbox = await Sandbox.start(`${sites[0]?.origin ?? ""}/app/`);
    for (const [i, person] of people.entries()) {
      made[person] = await Phone.start(person, made.sandbox, sites[i] as Site);
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
    await made.sandbox.stop();
    for (const site of sites) {
      await site.stop();
    }
  });
  return made;
}
