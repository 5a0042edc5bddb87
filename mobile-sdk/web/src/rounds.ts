import { rest } from "./backoff.js";

/** Work that is done in rounds until nothing is left, by one at a time however many ask for it. */
export class Rounds {
  private driving: Promise<void> | undefined;
  private wakeUp: () => void = () => undefined;

  /** @param round - does what is due, and returns for how many milliseconds to rest before the next; undefined when nothing is left */
  constructor(private readonly round: () => Promise<number | undefined>) {}

  /** Goes on until nothing is left or `signal` is aborted; a rest that is under way ends. Where it goes on already, the signal that it began with counts. */
  drive(signal?: AbortSignal): Promise<void> {
    this.wake();
    this.driving ??= this.run(signal).finally(() => {
      this.driving = undefined;
    });
    return this.driving;
  }

  /** Ends the rest that is under way, or that follows the present round. */
  wake(): void {
    this.wakeUp();
  }

  private async run(signal?: AbortSignal): Promise<void> {
    while (!signal?.aborted) {
      const awake = new Promise<void>((resolve) => {
        this.wakeUp = resolve;
      });
      const pause = await this.round();
      if (pause === undefined) {
        return;
      }
      await rest(pause, signal, awake);
    }
  }
}
