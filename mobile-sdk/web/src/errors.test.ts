import { describe, expect, test } from "vitest";
import { broken, refusal } from "./errors.js";
import { vectors } from "../browser/vectors.js";

interface Case {
  name: string;
  status: number;
  header?: Record<string, string>;
  answer: unknown;
  text?: string;
  do?: string;
}

interface Status {
  message: string;
  details: { "@type": string; reason?: string; metadata?: Record<string, string>; requestId?: string; fieldViolations?: { field: string }[] }[];
}

const body = (c: Case) => (c.answer === null ? (c.text ?? "") : JSON.stringify(c.answer));

describe.each(["errors.json", "actions.json", "receipts.json"])("what an app does about %s", (file) => {
  test.each(vectors<Case>(file).filter((c) => c.status !== 200))("$name", (c) => {
    const error = refusal(c.status, body(c), new Headers(c.header));
    expect(error.remedy).toBe(c.do);
    expect(error.status).toBe(c.status);
    const said = c.answer as Status | null;
    const info = said?.details.find((d) => d["@type"].endsWith("ErrorInfo"));
    if (said) {
      expect(error.message).toBe(said.message);
      expect(error.reason).toBe(info?.reason ?? "UNKNOWN");
      expect(error.metadata).toEqual(info?.metadata ?? {});
      expect(error.requestId).toBe(said.details.find((d) => d["@type"].endsWith("RequestInfo"))?.requestId ?? "");
      expect(error.violations.map((v) => v.field)).toEqual(
        (said.details.find((d) => d["@type"].endsWith("BadRequest"))?.fieldViolations ?? []).map((v) => v.field),
      );
    }
  });
});

test("the pause that a server asks for is read out of both places", () => {
  const busy = (file: string, name: string) => vectors<Case>(file).find((c) => c.name === name) as Case;
  const waits = (c: Case) => refusal(c.status, body(c), new Headers(c.header)).retryAfter;
  expect(waits(busy("errors.json", "too many calls"))).toBe(3000);
  expect(waits(busy("errors.json", "the server is full"))).toBe(2000);
  expect(waits(busy("errors.json", "a page of a proxy that is busy"))).toBe(120_000);
  expect(refusal(503, "", new Headers({ "Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT" })).retryAfter).toBe(0);
});

test("the status that ends a stream is an error as any other", () => {
  const ends = (code: number, reason: string) =>
    broken(
      JSON.stringify({ code, message: "why", details: [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", domain: "tocsin.dev", reason }] }),
    );
  expect(ends(14, "SERVER_DRAINING")).toMatchObject({ remedy: "wait", reason: "SERVER_DRAINING" });
  expect(ends(11, "CURSOR_TOO_OLD")).toMatchObject({ remedy: "relist", reason: "CURSOR_TOO_OLD" });
  expect(ends(16, "CREDENTIAL_INVALID")).toMatchObject({ remedy: "sign_in" });
  expect(broken("rubbish")).toMatchObject({ remedy: "retry", reason: "UNREACHABLE" });
});

test("no answer makes it throw, whatever is in it", () => {
  for (const text of ["", "null", "[]", "{}", '{"code":"x"}', '{"code":3,"details":7}', '{"code":3,"details":[null]}', "<html>"]) {
    expect(refusal(400, text).remedy).toBe("fix");
  }
});
