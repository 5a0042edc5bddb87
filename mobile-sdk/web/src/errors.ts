/**
 * What an app does about a failed call. Programs compare this, or the reason of
 * the error; the message is for people and changes.
 *
 * - `sign_in`: signed out. The credential is forgotten already; ask for a new link.
 * - `open`: it does not work from a notification. Open the app, and do it there.
 * - `deny`: say that the role does not allow it.
 * - `remove`: there is no such thing (any more). Take it off the list.
 * - `decide`: the thing has moved on. Read it again, show what changed, and let the person decide.
 * - `refresh`: it cannot be done as things stand. Say why, and read the thing again.
 * - `relist`: away for too long. List again, and watch from there.
 * - `fix`: the app's own mistake; `violations` names the fields. Not again.
 * - `wait`: the server is busy. The same call, with the same ids, after `retryAfter`.
 * - `retry`: no answer, or the server is unwell. The same call, with the same ids, a few times; show `requestId`.
 */
export type Remedy = "sign_in" | "open" | "deny" | "remove" | "decide" | "refresh" | "relist" | "fix" | "wait" | "retry";

/** A field that the server refused. */
export interface Violation {
  field: string;
  /** What is wrong with it and what would be right. */
  description: string;
}

/** google.rpc.Status, as far as it is read here. */
interface Status {
  code?: number;
  message?: string;
  details?: Detail[];
}

interface Detail {
  "@type"?: string;
  domain?: string;
  reason?: string;
  metadata?: Record<string, string>;
  requestId?: string;
  retryDelay?: string;
  fieldViolations?: { field?: string; description?: string }[];
}

const domain = "tocsin.dev";

/** A call that failed. `remedy` is what to do about it. */
export class TocsinError extends Error {
  override readonly name = "TocsinError";
  /** What to do about it. */
  readonly remedy: Remedy;
  /** Why, for programs: "REVISION_MOVED". "UNREACHABLE" when nothing answered that is the server. */
  readonly reason: string;
  /** The HTTP status, or that of a broken stream; 0 when there was no answer. */
  readonly status: number;
  /** The values that belong to the reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields that were refused. */
  readonly violations: readonly Violation[];
  /** Names the call in the server's log; "" when it is not known. */
  readonly requestId: string;
  /** How long the server asks to wait, in milliseconds; 0 when it does not say. */
  readonly retryAfter: number;

  constructor(
    message: string,
    about: {
      remedy: Remedy;
      reason: string;
      status?: number;
      metadata?: Record<string, string>;
      violations?: Violation[];
      requestId?: string;
      retryAfter?: number;
    },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.remedy = about.remedy;
    this.reason = about.reason;
    this.status = about.status ?? 0;
    this.metadata = about.metadata ?? {};
    this.violations = about.violations ?? [];
    this.requestId = about.requestId ?? "";
    this.retryAfter = about.retryAfter ?? 0;
  }
}

/** The storage of the browser did not take something in: it is full, or switched off. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  /** Whether it is full; otherwise the browser does not let the app store anything. */
  readonly full: boolean;

  constructor(what: string, cause: unknown) {
    const full = cause instanceof DOMException && cause.name === "QuotaExceededError";
    super(`${what}: ${full ? "the browser's storage is full; free some space on the device" : "the browser stores nothing"}`, { cause });
    this.full = full;
  }
}

/** Nothing answered, or something that is not the server. */
export function unreachable(why: string, cause?: unknown): TocsinError {
  return new TocsinError(why, { remedy: "retry", reason: "UNREACHABLE" }, { cause });
}

/**
 * Reads an answer other than 200. What is no google.rpc.Status came from
 * something in front of the server: its status alone decides.
 */
export function refusal(status: number, body: string, headers?: Headers): TocsinError {
  const said = statusOf(body);
  const info = detail(said, "ErrorInfo");
  const reason = info?.domain === domain ? (info.reason ?? "") : "";
  return new TocsinError(said?.message ?? `the server answered ${String(status)}`, {
    remedy: remedyOf(status, reason, info?.metadata ?? {}, said?.code),
    reason: reason || (said ? "UNKNOWN" : "UNREACHABLE"),
    status,
    metadata: info?.metadata ?? {},
    violations: (detail(said, "BadRequest")?.fieldViolations ?? []).map((v) => ({ field: v.field ?? "", description: v.description ?? "" })),
    requestId: detail(said, "RequestInfo")?.requestId ?? headers?.get("X-Request-Id") ?? "",
    retryAfter: retryAfter(headers?.get("Retry-After"), detail(said, "RetryInfo")?.retryDelay),
  });
}

/** Reads the status that ends a stream, as google.rpc.Status in JSON. */
export function broken(body: string): TocsinError {
  const code = statusOf(body)?.code ?? 0;
  return refusal(httpStatus[code] ?? 500, body);
}

/** HTTP's status for gRPC's codes; 500 for those that are not here. */
const httpStatus: Record<number, number> = { 3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 14: 503, 16: 401 };

/** gRPC's codes that share a status of HTTP with another. */
const failedPrecondition = 9;
const outOfRange = 11;

function remedyOf(status: number, reason: string, metadata: Record<string, string>, code: number | undefined): Remedy {
  if (metadata["reopen"] === "true") {
    return "open";
  }
  switch (status) {
    case 401:
      return reason === "CREDENTIAL_INVALID" ? "sign_in" : "fix";
    case 403:
      return "deny";
    case 404:
      return "remove";
    case 408:
      return "retry";
    case 409:
      return "decide";
    case 429:
    case 503:
      return "wait";
  }
  if (status >= 500) {
    return "retry";
  }
  switch (code) {
    case failedPrecondition:
      return "refresh";
    case outOfRange:
      return "relist";
  }
  return "fix";
}

/** Whether the same call may succeed later. */
export function isTemporary(error: unknown): boolean {
  return !(error instanceof TocsinError) || error.remedy === "wait" || error.remedy === "retry";
}

function statusOf(body: string): Status | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === "object" && parsed !== null && "code" in parsed && typeof parsed.code === "number") {
      return parsed as Status;
    }
  } catch {
    // not JSON, so not the server
  }
  return undefined;
}

function detail(status: Status | undefined, type: string): Detail | undefined {
  const all: (Detail | null)[] = Array.isArray(status?.details) ? status.details : [];
  return all.find((d) => d?.["@type"] === `type.googleapis.com/google.rpc.${type}`) ?? undefined;
}

/** Milliseconds out of Retry-After in seconds, or out of a duration as "1.500s". */
function retryAfter(header: string | null | undefined, delay: string | undefined): number {
  for (const text of [delay, header]) {
    const seconds = Number.parseFloat(text ?? "");
    if (seconds > 0) {
      return Math.min(seconds, 3600) * 1000;
    }
  }
  return 0;
}
