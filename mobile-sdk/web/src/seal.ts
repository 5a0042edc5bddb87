import { concat, fromBase64, utf8, type Bytes } from "./bytes.js";

/**
 * Opens what the server sealed for this device: HPKE in base mode (RFC 9180)
 * with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM, by WebCrypto.
 * docs/push.md has the form of what is sealed.
 */

/** What a sealed text is bound to: it opens for nothing else. */
export interface Binding {
  delivery: string;
  /** "" for none. */
  incident: string;
  /** The device's id, without "devices/". */
  device: string;
  /** The app's name for the key. */
  key: string;
  /** Unix seconds. */
  deadline: number;
}

/** A key pair that pages are sealed for. The private half cannot be read, only used. */
export interface SealKey {
  id: string;
  /** An uncompressed point of P-256, 65 bytes. */
  publicKey: Bytes;
  privateKey: CryptoKey;
  /** When it was made, in Unix milliseconds by the device's clock. */
  made: number;
}

const curve = { name: "ECDH", namedCurve: "P-256" };
const pointSize = 65;
const info = utf8("tocsin-push-v1");
const kem = concat(utf8("KEM"), Uint8Array.of(0, 0x10));
const suite = concat(utf8("HPKE"), Uint8Array.of(0, 0x10, 0, 1, 0, 1));
const empty = new Uint8Array(0);

/** Makes a new pair. */
export async function newSealKey(): Promise<SealKey> {
  const pair = await crypto.subtle.generateKey(curve, false, ["deriveBits"]);
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { id: crypto.randomUUID(), publicKey, privateKey: pair.privateKey, made: Date.now() };
}

/** Opens a sealed text, in base64. Fails when it was not sealed for this key and exactly this binding. */
export async function open(key: Pick<SealKey, "publicKey" | "privateKey">, sealed: string, binding: Binding): Promise<string> {
  const all = fromBase64(sealed);
  const enc = all.slice(0, pointSize);
  const theirs = await crypto.subtle.importKey("raw", enc, curve, false, []);
  const dh = new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, key.privateKey, 256));
  const shared = await expand(kem, await extract(kem, empty, "eae_prk", dh), "shared_secret", concat(enc, key.publicKey), 32);
  const context = concat(
    Uint8Array.of(0), // base mode
    await extract(suite, empty, "psk_id_hash", empty),
    await extract(suite, empty, "info_hash", info),
  );
  const secret = await extract(suite, shared, "secret", empty);
  const aes = await crypto.subtle.importKey("raw", await expand(suite, secret, "key", context, 16), "AES-GCM", false, ["decrypt"]);
  const nonce = await expand(suite, secret, "base_nonce", context, 12);
  const padded = new Uint8Array(
    await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce, additionalData: additional(binding) }, aes, all.slice(pointSize)),
  );
  return unpad(padded);
}

/** The additional data: each field with its length before it, in 4 bytes. */
export function additional(b: Binding): Bytes {
  const parts = [b.delivery, b.incident, b.device, b.key, String(b.deadline)].map(utf8);
  return concat(...parts.flatMap((part) => [Uint8Array.of(part.length >>> 24, part.length >>> 16, part.length >>> 8, part.length), part]));
}

/** The text is preceded by its length in 2 bytes, and followed by zeros. */
function unpad(padded: Bytes): string {
  const length = ((padded[0] ?? 0xff) << 8) | (padded[1] ?? 0xff);
  if (length > padded.length - 2) {
    throw new Error("the sealed text says that it is longer than what there is");
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(padded.subarray(2, 2 + length));
}

/** LabeledExtract of RFC 9180, 4. */
function extract(id: Bytes, salt: Bytes, label: string, input: Bytes): Promise<Bytes> {
  return hmac(salt, concat(utf8("HPKE-v1"), id, utf8(label), input));
}

/** LabeledExpand of RFC 9180, 4, for up to the 32 bytes of one block. */
async function expand(id: Bytes, prk: Bytes, label: string, context: Bytes, size: number): Promise<Bytes> {
  const block = await hmac(prk, concat(Uint8Array.of(0, size), utf8("HPKE-v1"), id, utf8(label), context, Uint8Array.of(1)));
  return block.slice(0, size);
}

async function hmac(key: Bytes, data: Bytes): Promise<Bytes> {
  // WebCrypto takes no empty key; HMAC fills keys up with zeros, so these are the same.
  const raw = key.length === 0 ? new Uint8Array(32) : key;
  const k = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", k, data));
}
