/** A push, as a service worker gets it; docs/push.md has the table of its keys. */
export interface Push {
  title: string;
  /** The options of showNotification, as they came. */
  options: ShowOptions;
  delivery: string;
  /** page, clear, info, test; a kind that is not known here is shown quietly. */
  kind: string;
  /** Unix milliseconds, by the server's clock. */
  deadline: number | undefined;
  /** The incident's id, without "incidents/"; "" for none. */
  incident: string;
  /** The number by which people speak of it; undefined for none. */
  number: number | undefined;
  revision: number | undefined;
  /** Where receipts are reported, a path of the server; "" when none are wanted. */
  receiptPath: string;
  receiptKey: string;
  actionToken: string;
  /** The text sealed for this device, in base64, and for which of its keys. */
  sealed: string;
  sealedKey: string;
  /** Whether the person only observes: no button to acknowledge. */
  observes: boolean;
  /** How many pages are open, for the app's badge; undefined leaves it. */
  badge: number | undefined;
  /** The id of a device that shall forget everything; "" for none. */
  wipe: string;
  /** What the server asks for: "seal_key". */
  ask: string;
}

/** NotificationOptions, with what TypeScript's library leaves out. */
export interface ShowOptions extends Omit<NotificationOptions, "data"> {
  data?: unknown;
  actions?: { action: string; title: string }[];
  renotify?: boolean;
  timestamp?: number;
  vibrate?: number[];
  navigate?: string;
}

type Fields = Record<string, unknown>;

/** Reads a push; undefined for what is none. */
export function readPush(message: unknown): Push | undefined {
  const notification = fields(fields(message)?.["notification"]);
  const title = text(notification?.["title"]);
  if (!notification || !title) {
    return undefined;
  }
  const { title: _, ...options } = notification;
  return pushOf(title, options, fields(message)?.["app_badge"]);
}

/** What a notification that is on the screen, or that the browser made out of a declaration, was made of. */
export function pushOf(title: string, options: ShowOptions, badge?: unknown): Push {
  const data = fields(options.data) ?? {};
  const details = fields(data["m"]) ?? {};
  return {
    title,
    options,
    delivery: text(data["d"]),
    kind: text(data["k"]),
    deadline: seconds(data["x"]),
    incident: text(data["i"]),
    number: number(data["n"]),
    revision: number(data["r"]),
    receiptPath: path(data["u"]),
    receiptKey: text(data["uk"]),
    actionToken: text(data["a"]),
    sealed: text(data["e"]),
    sealedKey: text(data["ek"]),
    observes: data["sh"] === "observe",
    badge: number(data["badge"] ?? badge),
    wipe: text(details["wipe"]),
    ask: text(details["ask"]),
  };
}

/** A push with nothing in it of what it says and to whom, under another title and body. */
export function anonymous(push: Push, [title, body]: [title: string, body: string]): Push {
  const { silent = false, renotify = false, requireInteraction = false } = push.options;
  const options = { silent, renotify, requireInteraction, tag: "tocsin-anonymous", body, data: { k: push.kind } };
  return { ...pushOf(title, options), deadline: push.deadline };
}

/** What a sealed text opens to. */
export interface OpenedText {
  title: string;
  body: string;
  actionToken: string;
  /** Links that the server allows; an app opens no other out of a push. */
  links: { text: string; url: string }[];
}

/** Reads what was sealed; undefined for what is no such text. */
export function readOpened(json: string): OpenedText | undefined {
  let read: Fields | undefined;
  try {
    read = fields(JSON.parse(json));
  } catch {
    return undefined;
  }
  if (!read) {
    return undefined;
  }
  const links = Array.isArray(read["links"]) ? read["links"].map(fields) : [];
  return {
    title: text(read["title"]),
    body: [text(read["subtitle"]), text(read["body"])].filter((t) => t !== "").join("\n"),
    actionToken: text(read["a"]),
    links: links.map((l) => ({ text: text(l?.["text"]), url: text(l?.["url"]) })).filter((l) => l.url.startsWith("https://")),
  };
}

function fields(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function seconds(value: unknown): number | undefined {
  const s = number(value);
  return s === undefined ? undefined : s * 1000;
}

/** A path on the app's own server. Whatever could lead elsewhere is none. */
function path(value: unknown): string {
  return /^\/(?![/\\])/.test(text(value)) ? text(value) : "";
}
