import { idOf, type Schemas } from "./api.js";
import type { App, Session } from "./app.js";
import { rest } from "./backoff.js";
import { toBase64 } from "./bytes.js";
import { TocsinError } from "./errors.js";
import { newSealKey, type SealKey } from "./seal.js";

/** The device's record on the server. */
export type Device = Schemas["Device"];
/** Whose phone a link would make this one; show it, and ask. */
export type Enrolment = Schemas["Enrolment"];

/** What makes this browser somebody's device: "https://page.example.org/enrol#code". */
export interface EnrolmentLink {
  origin: string;
  code: string;
}

/** Reads an enrolment link, out of a QR code or the address bar. Fails with an Error for what is none. */
export function readLink(link: string | URL): EnrolmentLink {
  let url: URL;
  try {
    url = new URL(link);
  } catch {
    throw new Error(`this is no enrolment link: it should be as "https://…/enrol#…", and is ${JSON.stringify(String(link).slice(0, 60))}`);
  }
  const code = decodeURIComponent(url.hash.slice(1));
  if (!/^https?:$/.test(url.protocol) || !url.pathname.toLowerCase().endsWith("/enrol") || code.length < 16 || code.length > 128) {
    throw new Error('this is no enrolment link: it should be as "https://…/enrol#…", with a code of 16 to 128 characters; ask for a new one');
  }
  return { origin: url.origin, code };
}

/** Says whose phone the link would make this browser. Uses nothing up. */
export function previewEnrolment(app: App, link: EnrolmentLink, signal?: AbortSignal): Promise<Enrolment> {
  sameServer(app, link);
  return app.api.post("/v1/devices:previewEnrolment", { body: { code: link.code }, credential: "", signal });
}

/**
 * Makes this browser the device of whoever the link is for. Who was signed in
 * before is signed out first. The code is good once: when the answer is lost,
 * the next call fails with the reason ENROLMENT_CODE, and a new link is needed.
 *
 * Fails with a StorageError, and uses nothing up, when the browser has no room
 * for the credential.
 */
export async function enrol(app: App, link: EnrolmentLink, about: { displayName?: string; signal?: AbortSignal } = {}): Promise<Session> {
  sameServer(app, link);
  await app.store.put("things", "room", "·".repeat(4096)); // the credential is shown once: there has to be room for it
  await known(app);
  await previewEnrolment(app, link, about.signal);
  if (app.session) {
    await signOut(app);
    await app.store.put("things", "room", "·".repeat(4096));
  }
  const device = await describe(app, about.displayName); // with nothing of whoever was here before: their keys are gone
  const use = () => app.api.post("/v1/devices:enrol", { body: { code: link.code, device }, credential: "", signal: about.signal });
  const done = await patiently(use, about.signal) // who was here before is signed out already
    .catch(async (error: unknown) => {
      if (error instanceof TocsinError && error.reason === "NOT_THIS_DEVICE") {
        await app.installId(true); // the record of that one is somebody else's; the next link makes another
      }
      throw error;
    });
  if (!done.credential || !done.device?.name) {
    throw new TocsinError("the server's answer has no credential", { remedy: "fix", reason: "UNREACHABLE" });
  }
  const session: Session = {
    origin: app.api.origin,
    credential: done.credential,
    device: done.device.name,
    user: done.device.user ?? "",
    userDisplayName: done.userDisplayName ?? "",
    organization: done.organization ?? "",
  };
  await app.keep(app.store.delete("things", "room"));
  try {
    await app.signIn(session);
  } catch (error) {
    await app.api.post("/v1/devices/{device}:revoke", { path: { device: "me" }, body: {}, credential: session.credential }).catch(() => undefined);
    throw error;
  }
  return session;
}

/**
 * Makes a call again while the server says that it comes too soon. Whoever has
 * no credential may call five times a second, with everybody behind the same
 * address; those who begin from the start each time could go on like that for
 * minutes, as the first of their calls takes what the second one needs.
 */
async function patiently<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof TocsinError && error.remedy === "wait") || tries === 20) {
        throw error;
      }
      await rest(Math.max(error.retryAfter, 100), signal);
    }
  }
}

/**
 * Signs out: the server is told, and everything is forgotten here, whether or
 * not it could be told. The promise has whether it was; if not, the device stays
 * in the person's list until somebody takes it out there, and is not paged. Fails
 * with a StorageError when it cannot be read who is signed in, or not be forgotten.
 */
export async function signOut(app: App): Promise<boolean> {
  await known(app);
  const credential = app.session?.credential;
  const tell = () =>
    app.api
      .post("/v1/devices/{device}:revoke", { path: { device: "me" }, body: { reason: "signed out" }, timeout: 5000, credential: credential ?? "" })
      .then(
        () => true,
        (error: unknown) => error instanceof TocsinError && error.remedy === "sign_in",
      );
  const told = (await app.wipe(credential ? tell : undefined)) ?? false;
  if (!told) {
    await app.keep(app.installId(true)); // that record is the former person's until he takes it out
  }
  return told;
}

/** Fails with a StorageError while it cannot be read who this browser is. */
export async function known(app: App): Promise<void> {
  if (app.unread) {
    await app.refresh();
  }
}

/** Sends a page that differs from a real one by the word TEST alone. `watchTest` tells how far it gets. */
export function sendTest(app: App): Promise<Schemas["TestPush"]> {
  return app.api.post("/v1/devices/{device}:sendTestPush", { path: { device: "me" }, body: { requestId: crypto.randomUUID() } });
}

/** Says whether the person heard the test: only one that was received and heard has passed. */
export function confirmTest(app: App, test: string, heard: boolean): Promise<Schemas["TestPush"]> {
  return app.api.post("/v1/testPushes/{testPush}:confirm", { path: { testPush: test }, body: { heard } });
}

/** The test of a delivery: its id without the dashes. */
export function testOf(delivery: string): string {
  return `testPushes/${delivery.replaceAll("-", "")}`;
}

/** What the server knows of this device. */
export function getDevice(app: App): Promise<Device> {
  return app.api.get("/v1/devices/{device}", { path: { device: "me" } });
}

/** Where pushes go, as the server takes it. */
export interface Reach {
  appId: string;
  address: Schemas["Address"];
}

/** Brings the device's record up to date with everything that is known here; `before` is the record as it is. */
export async function register(app: App, before: Device, reach?: Reach): Promise<Device> {
  const known = await describe(app, before.displayName); // the person may have renamed it elsewhere
  const device = { ...known, appId: reach?.appId ?? before.appId ?? "", ...(reach ? { address: reach.address } : {}) };
  const done = await app.api.post("/v1/devices:register", { body: { device } });
  return done.device ?? device;
}

/** The keys that pages are sealed for: the present one, and the one before for as long as a page lives. */
interface SealKeys {
  current: SealKey;
  before?: SealKey;
}

const sealKeysKey = "seal";

/** The keys that may open a page, with this name. */
export async function sealKey(app: App, id: string): Promise<SealKey | undefined> {
  const keys = (await app.store.get("things", sealKeysKey)) as SealKeys | undefined;
  return [keys?.current, keys?.before].find((k) => k?.id === id);
}

/** Makes a new key to seal pages for; the next {@link register} tells the server. */
export async function renewSealKey(app: App): Promise<SealKey> {
  const current = await newSealKey();
  await app.store.change("things", sealKeysKey, (old) => {
    const had = (old as SealKeys | undefined)?.current;
    return had ? { current, before: had } : { current };
  });
  return current;
}

async function currentSealKey(app: App): Promise<SealKey | undefined> {
  const keys = (await app.store.get("things", sealKeysKey)) as SealKeys | undefined; // one that cannot be read is not replaced
  return keys?.current ?? (await app.keep(renewSealKey(app)));
}

async function describe(app: App, displayName?: string): Promise<Device> {
  const key = app.session ? await currentSealKey(app) : undefined; // kept with the session, and made after it
  const browser = browserName(navigator.userAgent);
  return {
    installId: await app.installId(),
    platform: "PLATFORM_WEB",
    ...(displayName ? { displayName } : {}),
    model: browser,
    locale: navigator.language.slice(0, 35),
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    ...(app.options.appVersion ? { appVersion: app.options.appVersion } : {}),
    permission: permissionOf(),
    capabilities: { actions: maxActions() > 0, alert: true, sound: true },
    ...(key ? { sealKey: toBase64(key.publicKey), sealKeyId: key.id } : {}),
  };
}

/** Whether this browser may notify, in the API's words. */
export function permissionOf(): NonNullable<Device["permission"]> {
  switch ("Notification" in globalThis ? Notification.permission : "denied") {
    case "granted":
      return "PERMISSION_GRANTED";
    case "denied":
      return "PERMISSION_DENIED";
    default:
      return "PERMISSION_NOT_DETERMINED";
  }
}

/** How many buttons a notification has here: none at Apple's. */
function maxActions(): number {
  return "Notification" in globalThis ? ((Notification as { maxActions?: number }).maxActions ?? 0) : 0;
}

/** "Firefox on Android" */
export function browserName(agent: string): string {
  const first = (names: [string, RegExp][]) => names.find(([, pattern]) => pattern.test(agent))?.[0];
  const browser = first([
    ["Edge", /Edg(e|A|iOS)?\//],
    ["Samsung Internet", /SamsungBrowser\//],
    ["Opera", /OPR\//],
    ["Firefox", /(Firefox|FxiOS)\//],
    ["Chrome", /(Chrom(e|ium)|CriOS)\//],
    ["Safari", /Safari\//],
  ]);
  const system = first([
    ["iPhone", /iPhone/],
    ["iPad", /iPad/],
    ["Android", /Android/],
    ["Windows", /Windows/],
    ["macOS", /Mac OS X/],
    ["ChromeOS", /CrOS/],
    ["Linux", /Linux/],
  ]);
  return [browser ?? "Browser", system].filter(Boolean).join(" on ");
}

/** A code is for the server that made it: no other gets to see it. */
function sameServer(app: App, link: EnrolmentLink): void {
  if (link.origin !== app.api.origin) {
    throw new Error(`the link is for ${link.origin}, and this app belongs to ${app.api.origin}: open the link itself`);
  }
}

/** The id of this device, without "devices/"; "" while there is none. */
export function deviceId(app: App): string {
  return idOf(app.session?.device ?? "");
}
