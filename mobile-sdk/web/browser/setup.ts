import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import type { Where } from "./sandbox.js";

declare module "vitest" {
  interface ProvidedContext {
    where: Where;
  }
}

/** Starts the sandbox, out of what SANDBOX and SANDBOX_PROGRAM name or out of the sources, and ends it after the last test. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const { SANDBOX: sandbox, SANDBOX_PROGRAM: program } = process.env;
  const flags = ["--attached", ...(program ? ["--program", program] : [])];
  const [command, args] = sandbox ? [sandbox, flags] : ["go", ["run", "./cmd/sandbox", ...flags]];
  const child = spawn(command, args, { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    project.provide("where", JSON.parse(line) as Where);
    return async () => {
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
    };
  }
  throw new Error("the sandbox ended before it said where it is");
}
