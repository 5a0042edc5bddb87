import { randomBytes } from "node:crypto";
import type { Schemas } from "@tocsin/client";

/** Where everything of the installation is; see mobile-sdk/README.md, 8. */
export interface Where {
  server: string;
  direct: string;
  control: string;
  web_push: string;
  token: string;
  log: string;
}

type Incident = Schemas["Incident"];

/** One push as the simulator read it. */
export interface Pushed {
  number: number;
  at: string;
  token: string;
  opened?: unknown;
}

type Weather =
  | { mode: "up" | "down" }
  | { mode: "silent" | "lost"; path?: string; times?: number }
  | { mode: "error"; status?: number; retry_after?: number; path?: string; times?: number };

/** A real server with the simulators: setup.ts starts one for all tests. */
export class Sandbox {
  constructor(readonly where: Where) {}

  /** Adds a person, and returns the id. */
  async hire(name: string, privacy: string): Promise<string> {
    const id = `${name}-${randomBytes(6).toString("hex")}`;
    const displayName = name.charAt(0).toUpperCase() + name.slice(1);
    await this.admin(`/v1/users?userId=${id}`, { displayName, email: `${id}@example.com`, role: "ROLE_RESPONDER", privacy });
    return id;
  }

  /** Makes an enrolment code for somebody. */
  async code(user: string): Promise<string> {
    return ((await this.order("/enrolments", { user })) as { code: string }).code;
  }

  /** Opens an incident that pages these people, or a policy's, and returns its id. */
  async open(whom: { users?: string[]; policy?: string }): Promise<string> {
    const made = (await this.admin("/v1/incidents", {
      incident: { title: "Disk full on db1", severity: "SEVERITY_CRITICAL", source: "db1" },
      users: whom.users?.map((u) => `users/${u}`) ?? [],
      ...(whom.policy ? { escalationPolicy: `escalationPolicies/${whom.policy}` } : {}),
    })) as Incident;
    return made.name?.slice("incidents/".length) ?? "";
  }

  /** Lets the monitor say something: search pages Ann. */
  async alert(service: string, key: string, action = "trigger"): Promise<void> {
    await this.order("/alerts", { service, key, action });
  }

  async line(weather: Weather): Promise<void> {
    await this.order("/line", weather);
  }

  async revoke(device: string): Promise<void> {
    await this.order(`/${device}/revoke`, {});
  }

  /** Calls the server as administrator, past the line. */
  async admin(path: string, body?: unknown): Promise<unknown> {
    return call(this.where.direct + path, body, { Authorization: `Bearer ${this.where.token}` });
  }

  /** What the server says about an incident, by its id. */
  async incident(id: string): Promise<Incident> {
    return (await this.admin(`/v1/incidents/${id}`)) as Incident;
  }

  /** How often something stands in an incident's history, as "TYPE_ACKNOWLEDGED". */
  async times(id: string, type: string): Promise<number> {
    const { entries } = (await this.admin(`/v1/incidents/${id}/timeline`)) as { entries: { type: string }[] };
    return entries.filter((e) => e.type === type).length;
  }

  /** Makes a subscription at the push service. */
  async subscribe(name: string): Promise<{ token: string; p256dh: string; auth: string }> {
    return (await call(`${this.where.web_push}/api/phones`, { name, host: "fcm.googleapis.com" })) as { token: string; p256dh: string; auth: string };
  }

  /** What was pushed after number `after`; waits for the first. */
  async pushed(after: number, signal: AbortSignal): Promise<{ requests: Pushed[]; next: number }> {
    const url = `${this.where.web_push}/api/requests?after=${String(after)}&wait=20s`;
    return (await (await fetch(url, { signal })).json()) as { requests: Pushed[]; next: number };
  }

  private order(path: string, body: unknown): Promise<unknown> {
    return call(this.where.control + path, body);
  }
}

async function call(url: string, body: unknown, headers: Record<string, string> = {}): Promise<unknown> {
  const response = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) {
    throw new Error(`${url}: ${String(response.status)} ${text}`);
  }
  return JSON.parse(text);
}
