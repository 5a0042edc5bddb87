/**
 * What to do with a push:
 *
 * - `ring`: show it, with its sound.
 * - `replace`: show it quietly, in the place of the incident's card.
 * - `duplicate`: it was here before.
 * - `stale`: something newer is known of its incident.
 * - `missed`: it comes after its deadline.
 */
export type Verdict = "ring" | "replace" | "duplicate" | "stale" | "missed";

/** What a verdict is about. */
export interface Arrival {
  /** Page and test ring; everything else is quiet. */
  kind: string;
  /** Of the incident; undefined where the push is about none. */
  revision?: number | undefined;
  /** After it the push is late, in Unix milliseconds by the server's clock; undefined for never. */
  deadline?: number | undefined;
}

/** What was there before. */
export interface Known {
  /** Whether the delivery was shown. */
  delivered: boolean;
  /** The newest revision that was shown of the incident; undefined for none. */
  newest?: number | undefined;
}

/** Judges a push that arrives at `now`, by the server's clock. */
export function judge(push: Arrival, known: Known, now: number): Verdict {
  if (known.delivered) {
    return "duplicate";
  }
  if (push.revision !== undefined && known.newest !== undefined && push.revision < known.newest) {
    return "stale";
  }
  if (!isLoud(push.kind)) {
    return "replace";
  }
  return push.deadline !== undefined && now > push.deadline ? "missed" : "ring";
}

/** Whether a push of this kind makes a sound, and asks for receipts. */
export function isLoud(kind: string): boolean {
  return kind === "page" || kind === "test";
}
