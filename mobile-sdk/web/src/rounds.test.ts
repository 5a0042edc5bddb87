import { expect, test } from "vitest";
import { Rounds } from "./rounds.js";

const long = 3_600_000;

test("rounds follow each other until nothing is left, and two who ask share them", async () => {
  let left = 3;
  const rounds = new Rounds(() => Promise.resolve(left-- > 0 ? 0 : undefined));
  await Promise.all([rounds.drive(), rounds.drive()]);
  expect(left).toBe(-1);
  await rounds.drive(); // nothing has been left since, and it is looked again
  expect(left).toBe(-2);
});

test("a wake ends the rest that follows the round in which it comes", async () => {
  let count = 0;
  const rounds: Rounds = new Rounds(() => {
    if (++count === 2) {
      return Promise.resolve(undefined);
    }
    rounds.wake();
    return Promise.resolve(long);
  });
  await rounds.drive();
  expect(count).toBe(2);
});

test("who asks again ends a rest, and an aborted signal ends it all", async () => {
  const ended = new AbortController();
  let count = 0;
  const rounds = new Rounds(() => {
    count++;
    return Promise.resolve(long);
  });
  const driven = rounds.drive(ended.signal);
  await Promise.resolve(); // the round is done, and it rests
  void rounds.drive();
  await expect.poll(() => count).toBe(2);
  ended.abort();
  await driven;
  expect(count).toBe(2);
});
