// Shows the OpenAPI document of this server: services, their calls, and the
// fields of what they take and answer. Text is only ever set as text.
"use strict";

const el = (tag, cls, text) => {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  return e;
};

const name = (ref) => ref.replace("#/definitions/", "");

// typeOf says in a word or two what a schema is.
const typeOf = (s) => {
  if (!s) return "";
  if (s.$ref) return name(s.$ref).replace(/^v1/, "");
  if (s.type === "array") return typeOf(s.items) + "[]";
  if (s.additionalProperties) return "map of " + typeOf(s.additionalProperties);
  if (s.enum) return "one of " + s.enum.filter((v) => !v.endsWith("_UNSPECIFIED")).join(", ");
  return s.format ? s.type + " (" + s.format + ")" : s.type || "object";
};

const firstSentence = (t) => (t || "").split(/\n\n|(?<=\.)\s/)[0];

const fields = (rows) => {
  const box = el("div", "scroll");
  const t = el("table");
  const head = el("tr");
  ["Field", "Type", "Meaning"].forEach((h) => head.append(el("th", "", h)));
  t.append(head);
  for (const [field, type, text, must] of rows) {
    const tr = el("tr");
    tr.append(el("td", "", field + (must ? " *" : "")), el("td", "", type), el("td", "", text || ""));
    t.append(tr);
  }
  box.append(t);
  return box;
};

const rowsOf = (doc, schema) => {
  if (schema && schema.$ref) schema = doc.definitions[name(schema.$ref)];
  if (!schema || !schema.properties) return [];
  const must = new Set(schema.required || []);
  return Object.entries(schema.properties).map(([k, v]) => [
    k, typeOf(v.allOf ? v.allOf[0] : v), [v.title, v.description].filter(Boolean).join(" "), must.has(k),
  ]);
};

const open = (doc, d, op) => {
  if (d.dataset.built) return;
  d.dataset.built = "1";
  const body = el("div", "body");
  const text = [op.summary, op.description].filter(Boolean).join("\n\n");
  for (const p of text.split(/\n\n+/).filter(Boolean)) body.append(el("p", "", p.replace(/\n/g, " ")));
  const plain = (op.parameters || []).filter((p) => p.in !== "body");
  if (plain.length) {
    body.append(el("h3", "", "In the address"), fields(plain.map((p) => [p.name, typeOf(p), p.description, p.required])));
  }
  const inBody = (op.parameters || []).find((p) => p.in === "body");
  const takes = inBody ? rowsOf(doc, inBody.schema) : [];
  if (takes.length) body.append(el("h3", "", "In the body"), fields(takes));
  const answer = op.responses && op.responses["200"] && op.responses["200"].schema;
  const stream = answer && answer.properties && answer.properties.result;
  const gives = rowsOf(doc, stream || answer);
  if (gives.length) body.append(el("h3", "", stream ? "Streams" : "Answers"), fields(gives));
  body.append(el("p", "says", "gRPC: tocsin.v1." + op.operationId.replace("_", "/")));
  d.append(body);
};

// first are the services that most readers come for; the rest follows as it stands.
const first = ["IncidentService", "EventService", "DeviceService", "UserService", "TeamService", "CatalogService", "EscalationPolicyService"];

const show = (doc) => {
  const calls = document.getElementById("calls");
  const nav = document.getElementById("services");
  calls.replaceChildren();
  const texts = new Map((doc.tags || []).map((t) => [t.name, t.description]));
  const services = new Map([...first, ...texts.keys()].map((n) => [n, { text: texts.get(n), ops: [] }]));
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const tag = (op.tags || ["Other"])[0];
      if (!services.has(tag)) services.set(tag, { ops: [] });
      services.get(tag).ops.push({ path, method, op });
    }
  }
  for (const [service, { text, ops }] of services) {
    if (!ops.length) continue;
    const section = el("section");
    const h = el("h2", "", service.replace(/Service$/, "").replace(/([a-z])([A-Z])/g, "$1 $2"));
    h.id = service;
    section.append(h);
    if (text) section.append(el("p", "service", firstSentence(text)));
    for (const { path, method, op } of ops) {
      const d = el("details");
      d.id = op.operationId;
      const s = el("summary");
      s.append(el("span", "method " + method, method.toUpperCase()), el("span", "path", path), el("span", "says", firstSentence(op.summary || op.description)));
      d.append(s);
      d.dataset.text = [method, path, op.summary, op.operationId].join(" ").toLowerCase();
      d.addEventListener("toggle", () => d.open && open(doc, d, op));
      section.append(d);
    }
    calls.append(section);
    const a = el("a", "", h.textContent);
    a.href = "#" + service;
    nav.append(a);
  }
  document.getElementById("find").addEventListener("input", (e) => {
    const words = e.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const section of calls.children) {
      let shown = 0;
      for (const d of section.querySelectorAll("details")) {
        d.hidden = !words.every((w) => d.dataset.text.includes(w));
        shown += d.hidden ? 0 : 1;
      }
      section.hidden = shown === 0;
    }
  });
  const wanted = document.getElementById(location.hash.slice(1));
  if (wanted) {
    if (wanted.tagName === "DETAILS") wanted.open = true;
    wanted.scrollIntoView();
  }
};

fetch("/openapi.json")
  .then((r) => (r.ok ? r.json() : Promise.reject(new Error("HTTP " + r.status))))
  .then(show)
  .catch((e) => document.getElementById("calls").replaceChildren(el("p", "", "The document did not load: " + e.message)));
