import {
  acknowledge,
  enablePushes,
  enrol,
  IncidentFeed,
  keepReachable,
  previewEnrolment,
  readLink,
  sendTest,
  signOut,
  start,
  TocsinError,
  type EnrolmentLink,
  type FeedState,
  type Incident,
  type Tap,
} from "@tocsin/client";

// The smallest app that pages somebody. An incident is "acknowledged" on the
// server's word alone; until then the card says what is known.

const registration = await navigator.serviceWorker.register("sw.js", { type: "module" });
export const client = await start({ appVersion: "1.0" });
const { app, taps } = client;

const $ = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;
const known = new Map<string, Tap>();
let feed: FeedState = { incidents: [], status: "connecting", asOf: 0 };
let stopFeed = () => {};
let stopReach = () => {};
let link: EnrolmentLink | undefined;

function render() {
  const inside = app.session !== undefined;
  $("join").hidden = inside;
  $("leave").hidden = $("test").hidden = !inside;
  $("line").textContent = !inside
    ? "signed out"
    : feed.status === "live"
      ? "live"
      : `${feed.status}${feed.asOf ? `, as of ${new Date(feed.asOf).toLocaleTimeString()}` : ""}`;
  $("incidents").replaceChildren(...(inside ? feed.incidents.map(card) : []));
  if (inside && feed.incidents.length === 0 && feed.status === "live") {
    $("incidents").append(text("p", "Nothing is on fire.", "faint"));
  }
}

function card(incident: Incident): HTMLElement {
  const article = document.createElement("article");
  const tap = known.get(incident.name?.split("/")[1] ?? "");
  const [state, tone] = sayingOf(incident, tap);
  article.append(
    text("p", `#${incident.number ?? ""} ${incident.severity?.replace("SEVERITY_", "").toLowerCase() ?? ""}`, "faint"),
    text("h2", incident.title ?? ""),
    text("p", state, tone),
  );
  if (incident.state === "STATE_TRIGGERED") {
    const button = document.createElement("button");
    button.textContent = tap && tap.state !== "acting" ? "Acknowledge again" : "Acknowledge";
    button.disabled = tap?.state === "acting";
    button.onclick = () => void acknowledge(taps, incident);
    article.append(button);
  }
  return article;
}

function sayingOf(incident: Incident, tap?: Tap): [text: string, tone: string] {
  if (incident.state === "STATE_ACKNOWLEDGED") {
    return [`Acknowledged by ${incident.acknowledgements?.[0]?.displayName ?? "somebody"}`, "good"];
  }
  switch (tap?.state) {
    case "acting":
      return ["Acknowledging…", "warn"];
    case "unconfirmed":
      return ["NOT acknowledged yet: the server has not confirmed it. It is tried again.", "bad"];
    case "refused":
    case "given_up":
      return [`NOT acknowledged: ${tap.problem?.message ?? "the server was not reached"}`, "bad"];
    default:
      return ["Nobody has taken it yet", "warn"];
  }
}

function text(tag: string, words: string, tone = ""): HTMLElement {
  const element = document.createElement(tag);
  element.textContent = words;
  element.className = tone;
  return element;
}

function signedIn() {
  stopFeed();
  stopReach();
  if (app.session) {
    stopFeed = new IncidentFeed(app).listen((state) => {
      feed = state;
      render();
    });
    stopReach = keepReachable(
      app,
      (pushes) => {
        const failed = pushes instanceof TocsinError;
        $("pushes").textContent = failed ? `It cannot be said whether this browser is paged: ${pushes.message}` : (pushes.device?.healthReason ?? "");
        $("enable").hidden = failed || pushes.state !== "off";
      },
      registration,
    );
  } else {
    feed = { incidents: [], status: "connecting", asOf: 0 };
    $("pushes").textContent = "";
    $("enable").hidden = true;
  }
  render();
}

app.listen((news) => {
  if (news.type === "session") {
    signedIn();
  } else if (news.type === "tap") {
    known.set(news.tap.incident, news.tap);
    render();
  }
});

$("link").oninput = async () => {
  $("whose").textContent = "";
  try {
    link = readLink($<HTMLInputElement>("link").value);
    const whose = await previewEnrolment(app, link);
    $("whose").textContent = `This becomes the device of ${whose.userDisplayName ?? ""} at ${whose.organization ?? ""}.`;
  } catch (error) {
    $("whose").textContent = (error as Error).message;
  }
};
$("enrol").onclick = () => {
  if (link) {
    enrol(app, link).catch((error: unknown) => ($("whose").textContent = (error as Error).message));
  }
};
$("enable").onclick = () => void enablePushes(app, registration).then(signedIn);
$("test").onclick = () => void sendTest(app);
$("leave").onclick = () => void signOut(app);
signedIn();
