/**
 * The server's clock, as well as this device knows it. Deadlines are the
 * server's, and a phone's clock may be an hour off: a page must not be taken
 * for late because of that.
 */
export class Clock {
  /** How far this device's clock is behind the server's, in milliseconds; negative when ahead. */
  offset: number;

  /**
   * @param offset - what was learnt before, in milliseconds
   * @param keep - is given an offset that differs from the one before by enough to be worth keeping
   * @param read - the device's clock, in Unix milliseconds
   */
  constructor(
    offset = 0,
    private readonly keep: (offset: number) => void = () => undefined,
    private readonly read: () => number = Date.now,
  ) {
    this.offset = offset;
  }

  /** The time on the server, in Unix milliseconds. */
  now(): number {
    return this.read() + this.offset;
  }

  /** The time on the device, in Unix milliseconds. */
  local(): number {
    return this.read();
  }

  /**
   * Takes in what the server's clock showed while a call was under way that
   * began at `before`, by the device's clock. Less than `grain` milliseconds of
   * difference are no news.
   */
  learn(server: number, before: number, grain: number): void {
    const after = this.read();
    if (!Number.isFinite(server) || after < before) {
      return; // the device's clock was set meanwhile
    }
    const offset = Math.round(server - (before + after) / 2);
    if (Math.abs(offset - this.offset) <= grain + (after - before) / 2) {
      return;
    }
    this.offset = offset;
    this.keep(offset);
  }
}
