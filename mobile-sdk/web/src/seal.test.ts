import { describe, expect, test } from "vitest";
import { fromBase64, toBase64 } from "./bytes.js";
import { additional, open, type Binding } from "./seal.js";
import { vectors } from "../browser/vectors.js";

interface Case {
  name: string;
  private_key: string;
  public_key: string;
  binding: Binding;
  aad: string;
  sealed: string;
  opens: boolean;
  text?: string;
}

async function key(c: Case) {
  const publicKey = fromBase64(c.public_key);
  const url = (bytes: Uint8Array) => toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const jwk = { kty: "EC", crv: "P-256", x: url(publicKey.slice(1, 33)), y: url(publicKey.slice(33)), d: url(fromBase64(c.private_key)) };
  return { publicKey, privateKey: await crypto.subtle.importKey("jwk", jwk, { name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"]) };
}

describe("sealed texts", () => {
  const cases = vectors<Case>("sealed.json");
  test.each(cases.filter((c) => c.opens))("$name: opens", async (c) => {
    expect(toBase64(additional(c.binding))).toBe(c.aad);
    expect(await open(await key(c), c.sealed, c.binding)).toBe(c.text ?? "");
  });

  test.each(cases.filter((c) => !c.opens))("$name: does not open", async (c) => {
    await expect(open(await key(c), c.sealed, c.binding)).rejects.toThrow();
  });
});
