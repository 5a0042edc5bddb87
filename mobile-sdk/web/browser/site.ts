import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { Sandbox } from "./sandbox.js";

const types: Record<string, string> = { html: "text/html", js: "text/javascript", css: "text/css", json: "application/json" };
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** A call of the API that came over the site, and when. */
export interface Seen {
  method: string;
  path: string;
  /** With the query. */
  url: string;
  authorization: string;
  body: string;
  at: number;
  /** Of the answer; 0 when there was none. */
  status: number;
  answer: string;
}

/**
 * The web server of one person's browser: it serves the example, and hands the
 * API on to the sandbox, so that both are one origin, as behind a proxy.
 */
export class Site {
  /** What was called, in order. */
  readonly seen: Seen[] = [];
  /** While it is set the push service answers nobody who subscribes. */
  silent = false;
  private readonly server: Server;
  private bundles = new Map<string, Uint8Array>();
  private subscription: unknown = null;

  private constructor(
    private readonly name: string,
    private readonly sandbox: Sandbox,
  ) {
    this.server = createServer((req, res) => {
      this.serve(req, res).catch(() => res.destroy());
    });
  }

  static async start(name: string, sandbox: Sandbox): Promise<Site> {
    const site = new Site(name, sandbox);
    const built = await build({
      entryPoints: { page: here("page.ts"), sw: here("sw.ts") },
      bundle: true,
      format: "esm",
      write: false,
      outdir: "/",
      sourcemap: "inline",
      ignoreAnnotations: true, // what is tested here does something when it is imported
    });
    site.bundles = new Map(built.outputFiles.map((f) => [f.path, f.contents]));
    await new Promise<void>((resolve) => site.server.listen(0, "127.0.0.1", resolve));
    return site;
  }

  get origin(): string {
    return `http://127.0.0.1:${String((this.server.address() as AddressInfo).port)}`;
  }

  /** Lets this browser have the other one's subscription. */
  lend(other: Site): void {
    this.subscription = other.subscription;
  }

  /** The end of the endpoint that the browser has; "" for none. */
  get subscribed(): string {
    return (this.subscription as { endpoint?: string } | null)?.endpoint?.slice(-6) ?? "";
  }

  /** The calls whose path begins so. */
  calls(path: string): Seen[] {
    return this.seen.filter((s) => s.path.startsWith(path));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = (req.url ?? "/").split("?")[0] ?? "/";
    if (path === "/stub/subscription") {
      await this.subscribe(req, res);
    } else if (path.startsWith("/app/")) {
      const file = path === "/app/" ? "index.html" : path.slice("/app/".length);
      const content = this.bundles.get(`/${file}`) ?? (await readFile(here(`../example/${file}`)));
      res.writeHead(200, { "Content-Type": types[file.split(".").at(-1) ?? ""] ?? "text/plain", "Cache-Control": "no-store" });
      res.end(content);
    } else {
      await this.hand(req, res, path);
    }
  }

  private async subscribe(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.method === "DELETE") {
      this.subscription = null;
    } else if (req.method === "POST" && this.silent) {
      return;
    } else if (req.method === "POST") {
      const { key } = JSON.parse(await textOf(req)) as { key: string };
      const made = await this.sandbox.subscribe(`${this.name} ${String(Date.now())}`);
      this.subscription = { endpoint: made.token, p256dh: made.p256dh, auth: made.auth, key };
    }
    res.writeHead(200, { "Content-Type": "application/json" });
    res.end(JSON.stringify(this.subscription));
  }

  /** A line that is down is a connection that breaks. */
  private async hand(req: IncomingMessage, res: ServerResponse, path: string): Promise<void> {
    const seen: Seen = {
      method: req.method ?? "",
      path,
      url: req.url ?? "",
      authorization: req.headers.authorization ?? "",
      body: "",
      at: Date.now(),
      status: 0,
      answer: "",
    };
    this.seen.push(seen);
    seen.body = await textOf(req);
    const to = new URL(this.sandbox.where.server);
    const out = request(
      { host: to.hostname, port: to.port, method: req.method, path: req.url, headers: { ...req.headers, host: to.host } },
      (answer) => {
        seen.status = answer.statusCode ?? 0;
        res.writeHead(seen.status, answer.headers);
        answer.on("data", (chunk: Uint8Array) => (seen.answer += Buffer.from(chunk).toString()));
        answer.pipe(res);
        answer.on("error", () => res.destroy());
      },
    );
    out.on("error", () => res.destroy());
    res.on("close", () => out.destroy());
    out.end(seen.body);
  }
}

async function textOf(req: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of req) {
    chunks.push(chunk as Uint8Array);
  }
  return Buffer.concat(chunks).toString();
}
