/** An insecure page has none. */
const locks = () => navigator.locks as LockManager | undefined;

/**
 * Does something that no other page of the app, nor its worker, does at the same
 * time. Nothing is done, and the promise has false, while another does it; what
 * another has begun ends with that page or worker, however it ends.
 */
export async function alone(name: string, work: () => Promise<void>): Promise<boolean> {
  const manager = locks();
  if (!manager) {
    await work();
    return true;
  }
  return manager.request(name, { ifAvailable: true }, async (lock) => {
    if (lock) {
      await work();
    }
    return lock !== null;
  });
}

/** Does something after whatever any page of the app or its worker is doing under the name. */
export async function inTurn<T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const manager = locks();
  return manager ? manager.request(name, signal ? { signal } : {}, work) : work();
}

/** The same; but who has waited for so many milliseconds goes ahead, whatever the other is doing. */
export function inTurnOrAfter<T>(name: string, patience: number, work: () => Promise<T>): Promise<T> {
  let begun: Promise<T> | undefined;
  const turn = inTurn(name, () => (begun = work()), AbortSignal.timeout(patience));
  return turn.catch(() => begun ?? work());
}
