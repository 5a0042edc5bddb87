/** What Background Sync knows us by. */
export const syncTag = "tocsin";

/** Asks the browser to wake the worker when the network is there; not all can. */
export async function registerSync(registration: ServiceWorkerRegistration): Promise<void> {
  const { sync } = registration as { sync?: { register: (tag: string) => Promise<void> } };
  await sync?.register(syncTag).catch(() => undefined);
}
