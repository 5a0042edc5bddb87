import type { components, paths } from "./api.gen.js";
import type { Clock } from "./clock.js";
import { broken, refusal, TocsinError, unreachable } from "./errors.js";
import { EventReader, type ServerEvent } from "./events.js";

/** The messages of the API by their names: `Schemas["Incident"]`. */
export type Schemas = components["schemas"];

/** The methods of HTTP that the API uses. */
export type Method = "get" | "post" | "patch" | "delete";

/** The addresses of the API that have a method. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];

type Operation<P extends keyof paths, M extends Method> = paths[P] extends Record<M, infer O> ? O : never;

/** What a call takes, as the OpenAPI document has it. */
export type Arguments<P extends keyof paths, M extends Method> = CallOptions &
  (Operation<P, M> extends { parameters: { path: infer V } } ? { path: V } : { path?: never }) &
  (Operation<P, M> extends { parameters: { query?: infer Q } } ? { query?: NonNullable<Q> } : { query?: never }) &
  (Operation<P, M> extends { requestBody: { content: { "application/json": infer B } } } ? { body: B } : { body?: never });

/** What a call answers, as the OpenAPI document has it. */
export type Answer<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { responses: { 200: { content: { "application/json": infer A } } } } ? A : unknown;

/** How one call is made. */
export interface CallOptions {
  /** Gives the call up. */
  signal?: AbortSignal | undefined;
  /** How long to wait for the answer, in milliseconds. Default: that of the Api. */
  timeout?: number;
  /** Whether the call goes on when its page or worker is gone; its body has at most 64 KiB then. Default: false. */
  keepalive?: boolean;
  /** Calls as somebody else, or as nobody (""). Default: as the Api does. */
  credential?: string;
}

/** How an Api reaches its server. */
export interface ApiOptions {
  /** The server, as "https://page.example.org". Default: the one that the page or worker came from. */
  origin?: string;
  /** The credential, asked for before each call; "" or undefined for none. */
  credential?: () => string | undefined;
  /** How long to wait for an answer, in milliseconds. Default: 10,000. */
  timeout?: number;
  /** Learns the server's time from answers. */
  clock?: Clock;
  /** Is told of each call that the server refused, and of the credential that it was made with. */
  refused?: (error: TocsinError, credential: string) => void;
}

/** A call below the types: `path` fills the address in, `query` and `body` are as the API reads them. */
export interface Call extends CallOptions {
  path?: unknown;
  query?: unknown;
  body?: unknown;
}

/** A stream that says nothing for so long, in milliseconds, is dead: the server beats every 15 seconds. */
export const silence = 40_000;

/**
 * The calls of the API, with the types of its OpenAPI document. It knows nothing
 * of devices and stores nothing: a page that has an API token may use it alone.
 *
 * A call fails with a {@link TocsinError}; one that its caller aborted, with the reason of the signal.
 */
export class Api {
  /** The server, without a slash at the end. */
  readonly origin: string;

  constructor(private readonly options: ApiOptions = {}) {
    this.origin = new URL(options.origin ?? globalThis.location.origin).origin;
  }

  /** Reads: a resource, or a page of them. */
  get<P extends PathOf<"get">>(path: P, args: Arguments<P, "get">): Promise<Answer<P, "get">> {
    return this.send("get", path, args) as Promise<Answer<P, "get">>;
  }

  /** Makes something, or does something with it. */
  post<P extends PathOf<"post">>(path: P, args: Arguments<P, "post">): Promise<Answer<P, "post">> {
    return this.send("post", path, args) as Promise<Answer<P, "post">>;
  }

  /** Changes what the body has of a resource. */
  patch<P extends PathOf<"patch">>(path: P, args: Arguments<P, "patch">): Promise<Answer<P, "patch">> {
    return this.send("patch", path, args) as Promise<Answer<P, "patch">>;
  }

  /** Takes a resource away. */
  delete<P extends PathOf<"delete">>(path: P, args: Arguments<P, "delete">): Promise<Answer<P, "delete">> {
    return this.send("delete", path, args) as Promise<Answer<P, "delete">>;
  }

  /** Makes a call to an address that is not known when the program is compiled, such as that of a tap out of the queue. */
  async send(method: Method, path: string, args: Call = {}): Promise<unknown> {
    const { clock } = this.options;
    const credential = this.credential(args);
    const before = clock?.local() ?? 0;
    const patience = new Patience(args.signal);
    patience.wait(args.timeout ?? this.options.timeout ?? 10_000, "the server does not answer");
    try {
      const response = await this.open(method, path, args, credential, patience.signal);
      const text = await response.text();
      const error = response.ok ? undefined : this.refusal(response, text, credential);
      const answer = error ?? parse(text);
      if (error?.reason !== "UNREACHABLE") {
        clock?.learn(Date.parse(response.headers.get("Date") ?? "") + 500, before, 1500); // it has whole seconds
      }
      if (error) {
        throw error;
      }
      return answer;
    } catch (error) {
      throw patience.reason(error);
    } finally {
      patience.end();
    }
  }

  /**
   * Reads a stream of server-sent events until it ends. It fails when the line
   * breaks, when nothing comes for {@link silence} milliseconds, and when the
   * server says why it ends.
   */
  async *stream<P extends PathOf<"get">>(
    path: P,
    args: Arguments<P, "get"> & { lastEventId?: string | undefined },
  ): AsyncGenerator<ServerEvent, void, undefined> {
    const credential = this.credential(args); // there may be another one when the stream ends
    const patience = new Patience(args.signal);
    const quiet = () => {
      patience.wait(silence, "the server has gone silent");
    };
    quiet();
    try {
      const response = await this.open("get", path, args, credential, patience.signal, {
        Accept: "text/event-stream",
        ...(args.lastEventId ? { "Last-Event-ID": args.lastEventId } : {}),
      });
      if (!response.ok) {
        throw this.refusal(response, await response.text(), credential);
      }
      if (!response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        throw impostor();
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new EventReader();
      for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
        quiet();
        for (const event of events.read(chunk.value)) {
          if (event.event === "error") {
            const error = broken(event.data);
            this.options.refused?.(error, credential);
            throw error;
          }
          yield event;
        }
      }
    } catch (error) {
      throw patience.reason(error);
    } finally {
      patience.end();
    }
  }

  private open(
    method: Method,
    path: string,
    args: Call,
    credential: string,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    return fetch(this.origin + address(path, args), {
      method: method.toUpperCase(),
      headers: {
        ...headers,
        ...(args.body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(credential ? { Authorization: `Bearer ${credential}` } : {}),
      },
      body: args.body === undefined ? null : JSON.stringify(args.body),
      signal,
      keepalive: args.keepalive ?? false,
      cache: "no-store",
      credentials: "omit",
      redirect: "error", // the credential is for this origin alone
    });
  }

  private credential(args: CallOptions): string {
    return args.credential ?? this.options.credential?.() ?? "";
  }

  private refusal(response: Response, text: string, credential: string): TocsinError {
    const error = refusal(response.status, text, response.headers);
    this.options.refused?.(error, credential);
    return error;
  }
}

/** Aborts a call when its caller does, or when it has waited for too long. */
class Patience {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly caller: AbortSignal | undefined) {
    if (caller?.aborted) {
      this.abort();
    }
    caller?.addEventListener("abort", this.abort);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Waits for so many milliseconds from now on, and not as long as was said before. */
  wait(milliseconds: number, why: string): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.controller.abort(unreachable(why));
    }, milliseconds);
  }

  /** Also lets go of an answer that was not read to its end. */
  end(): void {
    clearTimeout(this.timer);
    this.caller?.removeEventListener("abort", this.abort);
    this.controller.abort();
  }

  /** Why a call really failed, whatever was thrown. */
  reason(error: unknown): unknown {
    if (this.caller?.aborted) {
      return this.caller.reason;
    }
    if (error instanceof TocsinError) {
      return error;
    }
    const { aborted, reason } = this.signal as { aborted: boolean; reason: unknown };
    return aborted && reason instanceof TocsinError ? reason : unreachable("the server cannot be reached", error);
  }

  private readonly abort = (): void => {
    this.controller.abort(this.caller?.reason);
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw impostor(error);
  }
}

/** Hotels and trains answer for every server until somebody has signed in. */
function impostor(cause?: unknown): TocsinError {
  return unreachable("what answered is not the server: a proxy, or a network that wants a sign-in", cause);
}

/** Fills an address in. A resource may be given by its whole name: "incidents/x" where {incident} is "x". */
function address(path: string, call: Call): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(idOf((call.path as Record<string, string> | undefined)?.[name] ?? "")),
  );
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(call.query ?? {})) {
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (one !== undefined && one !== null && one !== "") {
        query.append(name, String(one));
      }
    }
  }
  const text = query.toString();
  return text ? `${filled}?${text}` : filled;
}

/** The last part of a resource's name: "x" of "incidents/x". */
export function idOf(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}
