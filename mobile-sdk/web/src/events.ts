/** One server-sent event. */
export interface ServerEvent {
  /** What to come back with; "" when the event has none. */
  id: string;
  /** Its name; "message" when it has none. */
  event: string;
  data: string;
}

/**
 * Reads server-sent events out of chunks of text, however they are cut.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class EventReader {
  private rest = "";
  private id = "";
  private event = "";
  private data: string[] = [];

  /** Takes in the next chunk, and returns the events that are whole now. */
  read(chunk: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    this.rest += chunk;
    // A line feed may belong to a carriage return that ends the chunk.
    const whole = this.rest.endsWith("\r") ? this.rest.length - 1 : this.rest.length;
    const lines = this.rest.slice(0, whole).split(/\r\n|\r|\n/);
    this.rest = (lines.pop() ?? "") + this.rest.slice(whole);
    for (const line of lines) {
      const event = this.line(line);
      if (event) {
        events.push(event);
      }
    }
    return events;
  }

  private line(line: string): ServerEvent | undefined {
    if (line === "") {
      return this.dispatch();
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    switch (field) {
      case "id":
        if (!value.includes("\0")) {
          this.id = value;
        }
        break;
      case "event":
        this.event = value;
        break;
      case "data":
        this.data.push(value);
        break;
    }
    return undefined;
  }

  private dispatch(): ServerEvent | undefined {
    const event = { id: this.id, event: this.event || "message", data: this.data.join("\n") };
    const empty = this.data.length === 0;
    this.event = "";
    this.data = [];
    return empty ? undefined : event;
  }
}
