/**
 * Subscriptions of a browser that reaches no push service: they are made by the
 * simulator, and kept by the site of the test for page and worker alike.
 */
interface Stub {
  endpoint: string;
  key: string;
  p256dh: string;
  auth: string;
}

const url = new URL("/stub/subscription", location.origin);

const bytes = (text: string) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)).buffer;

function subscriptionOf(stub: Stub) {
  return {
    endpoint: stub.endpoint,
    options: { userVisibleOnly: true, applicationServerKey: bytes(stub.key) },
    getKey: (name: string) => bytes(name === "auth" ? stub.auth : stub.p256dh),
    unsubscribe: async () => (await fetch(url, { method: "DELETE" })).ok,
  };
}

Object.assign(PushManager.prototype, {
  async getSubscription() {
    const stub = (await (await fetch(url)).json()) as Stub | null;
    return stub && subscriptionOf(stub);
  },
  async subscribe(options: { applicationServerKey: Uint8Array }) {
    const key = btoa(String.fromCharCode(...options.applicationServerKey));
    const response = await fetch(url, { method: "POST", body: JSON.stringify({ key }) });
    return subscriptionOf((await response.json()) as Stub);
  },
});
