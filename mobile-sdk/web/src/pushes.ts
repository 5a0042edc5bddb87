import { registrationOf, type App } from "./app.js";
import { equal, fromBase64, toBase64 } from "./bytes.js";
import { getDevice, known, permissionOf, register, renewSealKey, type Device, type Reach } from "./device.js";
import { TocsinError } from "./errors.js";
import { inTurnOrAfter } from "./locks.js";

/**
 * Whether this browser is paged.
 *
 * - `on`: it is.
 * - `off`: the person was not asked yet: call `enablePushes` from a tap.
 * - `blocked`: notifications are not allowed; only the person can change that, in the browser's settings.
 * - `install`: on an iPhone or iPad the app has to be put on the home screen first.
 * - `unsupported`: the browser cannot, or the page is not secure.
 * - `unserved`: this server pages no browsers.
 * - `signed_out`: it is nobody's device.
 */
export type PushState = "on" | "off" | "blocked" | "install" | "unsupported" | "unserved" | "signed_out";

/** Whether this browser is paged, and what the server makes of it. */
export interface Pushes {
  state: PushState;
  /** The device's record: its `health`, and `healthReason`. Absent while signed out. */
  device?: Device;
}

/** What the server was last told. */
interface Registered {
  endpoint: string;
  key: string;
}

const registeredKey = "registered";

/**
 * Compares what the browser has with what the server knows, mends it, and
 * registers everything anew. To be called whenever the app starts; it asks the
 * person nothing. Fails with a {@link TocsinError} when the server is not reached,
 * and with a StorageError when it cannot be read who this browser is.
 */
export function checkPushes(app: App, registration?: ServiceWorkerRegistration): Promise<Pushes> {
  // One at a time: of two that subscribe, the server might believe the one and the browser the other.
  // But a push service that never answers one must not hold up all that come.
  return inTurnOrAfter(`${app.store.name} pushes`, 30_000, () => check(app, registration));
}

async function check(app: App, registration?: ServiceWorkerRegistration): Promise<Pushes> {
  await known(app);
  if (!app.session) {
    return { state: "signed_out" };
  }
  const before = await getDevice(app);
  const not = async (state: PushState) => ({ state, device: await register(app, before) });
  const manager = (registration ?? (await registrationOf()))?.pushManager;
  if (!manager || !("Notification" in globalThis)) {
    return not(needsInstall() ? "install" : "unsupported");
  }
  if (permissionOf() !== "PERMISSION_GRANTED") {
    return not(permissionOf() === "PERMISSION_DENIED" ? "blocked" : "off");
  }
  const served = await pushKey(app);
  if (!served) {
    return not("unserved");
  }
  if (before.sealKeyFailedTime) {
    await app.keep(renewSealKey(app));
  }
  try {
    let subscription = await subscriptionFor(manager, served.key, isDoubted(before));
    let device: Device;
    try {
      device = await register(app, before, reachOf(served.appId, subscription));
    } catch (error) {
      if (!(error instanceof TocsinError && error.reason === "ADDRESS_TAKEN")) {
        throw error;
      }
      subscription = await subscriptionFor(manager, served.key, true); // it was another person's, on this browser
      device = await register(app, before, reachOf(served.appId, subscription));
    }
    const registered: Registered = { endpoint: subscription.endpoint, key: toBase64(served.key) };
    await app.keep(app.store.put("things", registeredKey, registered));
    return { state: "on", device };
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError") {
      return not("off");
    }
    throw error;
  }
}

/** Mends the subscription, where it is not what was last registered. For the moment of a push: mostly it asks nobody. */
export async function mendPushes(app: App, registration: ServiceWorkerRegistration): Promise<void> {
  if (!app.session) {
    return;
  }
  const registered = (await app.store.get("things", registeredKey)) as Registered | undefined;
  const subscription = await registration.pushManager.getSubscription();
  if (!subscription || subscription.endpoint !== registered?.endpoint || !isFor(subscription, fromBase64(registered.key))) {
    await checkPushes(app, registration);
  }
}

/** The key that browsers subscribe with; undefined where the server pages none. */
async function pushKey(app: App): Promise<{ appId: string; key: Uint8Array<ArrayBuffer> } | undefined> {
  try {
    const answer = await app.api.get("/v1/webPushKey", {});
    return { appId: answer.appId ?? "", key: fromBase64(answer.key ?? "") };
  } catch (error) {
    if (error instanceof TocsinError && error.remedy === "remove") {
      return undefined;
    }
    throw error;
  }
}

/** The subscription of this browser for the key; a new one where there is none, or another key's, or `anew` is set. */
async function subscriptionFor(manager: PushManager, key: Uint8Array<ArrayBuffer>, anew: boolean): Promise<PushSubscription> {
  const had = await manager.getSubscription();
  if (had && !anew && isFor(had, key)) {
    return had;
  }
  await had?.unsubscribe();
  return manager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
}

function isFor(subscription: PushSubscription, key: Uint8Array): boolean {
  const own = subscription.options.applicationServerKey;
  return own === null || equal(new Uint8Array(own), key); // some browsers do not say
}

/** Whether the push service doubts the device's address. */
function isDoubted(device: Device): boolean {
  return device.state === "STATE_PARKED" || device.state === "STATE_DEAD";
}

function reachOf(appId: string, subscription: PushSubscription): Reach {
  const key = (name: PushEncryptionKeyName) => toBase64(new Uint8Array(subscription.getKey(name) ?? new ArrayBuffer(0)));
  return {
    appId,
    address: { kind: "KIND_WEB_PUSH", value: subscription.endpoint, webPushKey: key("p256dh"), webPushAuth: key("auth") },
  };
}

/** An iPhone or iPad whose page is not on the home screen. */
function needsInstall(): boolean {
  return "standalone" in navigator && navigator.standalone !== true;
}
