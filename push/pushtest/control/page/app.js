"use strict";

const $ = (id) => document.getElementById(id);

// el makes an element; text is only ever text.
function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k === "class") e.className = v;
    else if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (k in e) e[k] = v;
    else e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== null && c !== ""));
  return e;
}

async function call(method, path, body) {
  const init = { method, headers: {} };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  const res = await fetch(path, init);
  const answer = await res.json();
  if (!res.ok) throw new Error(answer.error || res.statusText);
  return answer;
}

let noticeTimer;
function notice(text, bad = false) {
  const n = $("notice");
  n.textContent = text;
  n.className = bad ? "bad" : "";
  n.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { n.hidden = true; }, bad ? 12000 : 5000);
}

// act does something and says how it went.
async function act(does, says) {
  try {
    const got = await does();
    if (says) notice(typeof says === "function" ? says(got) : says);
  } catch (e) {
    notice(e.message, true);
  }
  refresh();
}

const short = (s) => (s.length > 20 ? s.slice(0, 8) + "…" + s.slice(-6) : s);
const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false }) + "." + String(new Date(at).getMilliseconds()).padStart(3, "0");

// summary is what a request wants, in a line.
function summary(r) {
  const body = r.opened || r.body || {};
  const alert = body.aps && body.aps.alert;
  const message = body.message || {};
  const data = message.data || {};
  const title = (alert && (alert.title || alert.body || alert)) || data.title || (message.notification && message.notification.title) || (body.notification && body.notification.title);
  const how = [r.header["apns-push-type"], r.header["apns-priority"] && "priority " + r.header["apns-priority"], message.android && message.android.priority && "priority " + message.android.priority, r.header.urgency && "urgency " + r.header.urgency];
  return [typeof title === "string" ? title : "", ...how].filter(Boolean).join(" · ") || r.method + " " + r.path;
}

function requestRow(r) {
  const kind = r.fault ? "warn" : r.status < 300 ? "good" : "bad";
  return el("li", {}, el("details", {},
    el("summary", {},
      el("time", { dateTime: r.at }, clock(r.at)),
      el("span", { class: "what" },
        el("span", { class: "status " + kind }, r.fault || String(r.status)),
        r.fault ? "" : el("span", { class: kind }, r.reason),
        el("span", { class: "token mono" }, short(r.token)),
        el("span", { class: "text" }, summary(r)))),
    el("pre", {}, `connection ${r.connection}, stream ${r.stream}\n${r.method} ${r.path}\n` + Object.entries(r.header).map(([k, v]) => `${k}: ${v}`).sort().join("\n")),
    el("pre", {}, typeof r.body === "string" ? r.body : JSON.stringify(r.body, null, 2)),
    r.opened ? el("pre", {}, JSON.stringify(r.opened, null, 2)) : ""));
}

let after = 0;
const keep = 300;
async function follow() {
  for (;;) {
    try {
      const got = await call("GET", `api/requests?after=${after}&wait=20s`);
      after = got.next;
      const list = $("requests");
      for (const r of got.requests) list.prepend(requestRow(r));
      while (list.children.length > keep) list.lastChild.remove();
      $("no-requests").hidden = list.children.length > 0;
      if (got.requests.length) refresh();
    } catch (e) {
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

const switches = [
  ["offline", "offline", ""], ["doze", "Doze", "fcm"], ["do_not_disturb", "Do Not Disturb", ""], ["silent_switch", "silent", "apns fcm"],
  ["time_sensitive", "Focus lets time-sensitive pass", "apns"], ["no_critical", "critical not allowed", "apns fcm"],
  ["no_permission", "notifications off", ""], ["no_channel", "page channel off", "fcm"], ["no_extension", "extension not run", "apns"],
  ["locked", "not unlocked since start", ""], ["stopped", "app stopped by force", "apns fcm"], ["low_priority", "priority lowered", "fcm"],
  ["hold", "held in the network", ""], ["no_receipts", "reports nothing", ""],
];

let state = null;
const places = new Map(); // cards on the page, by phone

function showPush(n) {
  const marks = [n.audible ? (n.critical ? "critical sound" : "sound") : n.quiet ? "quiet: " + n.quiet : "silent",
    n.stale && "stale", n.missed && "missed", n.replaced && "in place of an older one", n.asleep && "app not run", n.unopened && "sealed: " + n.unopened];
  return el("div", { class: "card" + (n.audible ? " loud" : "") },
    el("strong", {}, n.title || n.kind || "(no title)"), n.subtitle || n.body ? el("span", {}, [n.subtitle, n.body].filter(Boolean).join(" — ")) : "",
    el("small", {}, " " + marks.filter(Boolean).join(", ")));
}

function phonePlace(p) {
  const path = "api/phones/" + encodeURIComponent(p.name);
  const button = (label, verb, body, says) => el("button", { type: "button", onclick: () => act(() => call("POST", path + "/" + verb, body), says) }, label);
  const chips = el("fieldset", { class: "chips", "aria-label": "How " + p.name + " behaves" });
  const boxes = {};
  for (const [key, label, where] of switches) {
    if (where && !where.includes(state.service)) continue;
    boxes[key] = el("input", { type: "checkbox", onchange: (e) => act(() => call("PATCH", path, { [key]: e.target.checked })) });
    chips.append(el("label", {}, boxes[key], label));
  }
  const is = el("summary", {});
  const place = { is, meta: el("p", { class: "meta" }), screen: el("div", { class: "screen", role: "group", "aria-label": "Screen of " + p.name }), boxes };
  place.root = el("article", { class: "phone" }, el("h3", {}, p.name + (p.tablet ? " (tablet)" : "")), place.meta, place.screen, el("details", {}, is, chips),
    el("div", { class: "row" },
      button("Acknowledge", "acknowledge", undefined, (r) => `${p.name}: ${r.outcome}, held by ${r.holder}`),
      button("Dismiss", "dismiss", {}),
      button("Let through", "let-through", undefined, (r) => `${r.delivered} delivered`),
      button("New token", "rotate", {}, (r) => "old and new: " + JSON.stringify(r.tokens)),
      button("Uninstall", "uninstall", { accepted_for: "1m" }, "uninstalled; pushes are accepted for a minute more"),
      el("button", { type: "button", onclick: () => act(() => call("DELETE", path)) }, "Remove")));
  return place;
}

function showPhones() {
  const names = new Set(state.phones.map((p) => p.name));
  for (const [name, place] of places) if (!names.has(name)) { place.root.remove(); places.delete(name); }
  for (const p of state.phones) {
    let place = places.get(p.name);
    if (!place) { place = phonePlace(p); places.set(p.name, place); $("phones").append(place.root); }
    place.meta.textContent = `${p.arrived} arrived, ${p.lost} lost` + (p.agent ? ", reports to its server" : "");
    place.screen.replaceChildren(...(p.shown.length ? p.shown.slice(-4).reverse().map(showPush) : [el("p", { class: "empty" }, "Nothing on the screen")]));
    const set = switches.filter(([key]) => p.behaviour[key]).map(([, label]) => label);
    place.is.textContent = "Behaviour: " + (set.join(", ") || "nothing out of the ordinary");
    for (const [key, box] of Object.entries(place.boxes)) if (document.activeElement !== box) box.checked = p.behaviour[key];
  }
}

function showTokens() {
  $("token-count").textContent = `(${state.tokens.length})`;
  $("tokens").replaceChildren(...state.tokens.slice(0, 100).map((t) => el("li", {},
    el("span", {}, (t.phone || "leads nowhere") + (t.app ? " · " + t.app : "")), el("code", {}, t.token),
    el("div", { class: "row" },
      el("button", { type: "button", onclick: () => act(() => navigator.clipboard.writeText(t.token), "copied") }, "Copy"),
      el("button", { type: "button", onclick: () => act(() => call("DELETE", "api/tokens", { token: t.token }), "dead from now on") }, "End")))));
  const select = $("answer-token");
  const was = select.value;
  select.replaceChildren(el("option", { value: "" }, "any token"), ...state.tokens.slice(0, 100).map((t) => el("option", { value: t.token }, (t.phone || "no phone") + " · " + short(t.token))));
  select.value = was;
  if (select.selectedIndex < 0) select.value = "";
}

let first = true;
let tokensWere = "";
function show() {
  const names = { apns: "APNs", fcm: "FCM", webpush: "Web Push" };
  $("url").textContent = state.url + (state.project ? " · project " + state.project : "");
  $("counters").replaceChildren(...[["requests", state.count], ["in flight", state.in_flight], ["connections", `${state.connections.open} of ${state.connections.opened}`],
    ["state", state.down ? "down" : "up"]].map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", { class: v === "down" ? "bad" : "" }, String(v)))));
  $("down").textContent = state.down ? "Accept connections" : "Refuse connections";
  $("down").dataset.do = state.down ? "up" : "down";
  if (first) {
    first = false;
    $("title").textContent = names[state.service] + " simulator";
    document.title = names[state.service] + " simulator";
    document.querySelectorAll(".apns").forEach((e) => { e.hidden = state.service !== "apns"; });
    document.querySelectorAll(".app").forEach((e) => { e.hidden = state.service === "webpush"; e.querySelector("input").value = state.app; });
    $("answer-reason").append(el("option", { value: "0|" }, "let the simulator judge"), ...state.reasons.map((r) => el("option", { value: r.status + "|" + r.reason }, `${r.status} ${r.reason || "(no code)"}: ${r.meaning}`)),
      el("option", { value: "502|html" }, "502 as a proxy's page of HTML"));
    $("answer-fault").append(el("option", { value: "" }, "nothing: the answer comes"), ...state.faults.map((f) => el("option", { value: f }, f)));
    const f = $("settings-form").elements;
    f.latency.value = state.latency;
    f.skew.value = state.skew;
    f.streams.value = state.streams;
    f.ignore_pings.checked = state.ignore_pings;
    for (const k of ["internal", "unavailable", "lost"]) f[k].value = state.weather[k] * 100;
    if (!state.phones.length) $("add-phone").open = true;
  }
  showPhones();
  const tokens = JSON.stringify(state.tokens);
  if (tokens !== tokensWere) { tokensWere = tokens; showTokens(); }
}

async function refresh() {
  try {
    state = await call("GET", "api/state");
    show();
  } catch (e) {
    notice("The simulator does not answer: " + e.message, true);
  }
}

$("phone-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = new FormData(e.target);
  const body = { name: f.get("name"), tablet: f.has("tablet") };
  for (const k of ["app", "server", "credential"]) if (f.get(k)) body[k] = f.get(k);
  if (state.service === "webpush") delete body.app;
  act(() => call("POST", "api/phones", body), (t) => `${t.phone} is at ${t.token}`);
});
$("token-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const app = new FormData(e.target).get("app");
  act(() => call("POST", "api/tokens", state.service === "webpush" ? {} : { app }), (t) => t.token);
});
$("answer-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = new FormData(e.target);
  const [status, reason] = f.get("reason").split("|");
  const answer = { status: Number(status), delay: f.get("delay") || "0s", fault: f.get("fault"), deliver: f.has("deliver"), held: f.has("held") };
  if (reason === "html") answer.html = true; else answer.reason = reason;
  const body = { token: f.get("token"), answer };
  if (f.get("times") === "always") body.always = true; else body.times = Number(f.get("times"));
  act(() => call("POST", "api/answers", body), "scripted");
});
$("heal").addEventListener("click", () => act(() => call("DELETE", "api/answers"), "no scripts any more"));
$("settings-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = e.target.elements;
  const share = (k) => (Number(f[k].value) || 0) / 100;
  act(() => call("PATCH", "api/settings", {
    latency: f.latency.value || "0s", skew: f.skew.value || "0s", streams: Number(f.streams.value), ignore_pings: f.ignore_pings.checked,
    weather: { internal: share("internal"), unavailable: share("unavailable"), lost: share("lost") },
  }), "applied");
});
$("actions").addEventListener("click", (e) => {
  const what = e.target.dataset.do;
  if (what) act(() => call("POST", "api/connections", { do: what }), what + " done");
});
$("forget").addEventListener("click", () => act(async () => {
  await call("DELETE", "api/requests");
  $("requests").replaceChildren();
  $("no-requests").hidden = false;
}));

refresh();
follow();
setInterval(refresh, 2000);
