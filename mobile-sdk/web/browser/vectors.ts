import { readFileSync } from "node:fs";

/** The cases of one file of mobile-sdk/vectors, which the server's own tests make and check. */
export function vectors<T>(file: string): T[] {
  const all = JSON.parse(readFileSync(new URL(`../../vectors/${file}`, import.meta.url), "utf8")) as { cases: T[] };
  return all.cases;
}
