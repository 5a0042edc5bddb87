const first = 1000;
const longest = 30_000;

/**
 * Milliseconds to wait after so many failed tries in a row: 1 s, doubled up to
 * 30 s, and between half and all of that at random, so that phones that failed
 * together do not come back together; at least what the server asked for.
 */
export function waitAfter(tries: number, asked = 0, random: () => number = Math.random): number {
  const most = Math.min(longest, first * 2 ** Math.min(Math.max(tries, 1) - 1, 10));
  return Math.max(most * (0.5 + random() / 2), asked);
}

/** Waits, until `signal` is aborted or `wake` is settled. */
export function rest(milliseconds: number, signal?: AbortSignal, wake?: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
    void wake?.then(end, end);
  });
}

/** The promise, or `otherwise` when it fails or takes longer than so many milliseconds. */
export function within<T, U>(milliseconds: number, promise: Promise<T>, otherwise: U): Promise<T | U> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve(otherwise);
    }, milliseconds);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      () => {
        clearTimeout(timer);
        resolve(otherwise);
      },
    );
  });
}
