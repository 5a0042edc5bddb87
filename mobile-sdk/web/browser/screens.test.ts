import { mkdir } from "node:fs/promises";
import { test } from "vitest";
import { until } from "./phone.js";
import { world } from "./world.js";

const w = world("ann");

test("the screens of the example, to be looked at in shots/", async () => {
  const { ann, sandbox } = w;
  const folder = new URL("../shots/", import.meta.url).pathname;
  await mkdir(folder, { recursive: true });
  const shot = (name: string) => ann.page.screenshot({ path: `${folder}${name}.png` });
  const says = (words: string) =>
    until(
      () => ann.page.evaluate((words) => document.body.innerText.includes(words), words),
      () => ann.page.evaluate(() => document.body.innerText),
    );
  const { incidents } = (await sandbox.admin("/v1/incidents?pageSize=200")) as { incidents: { name: string }[] };
  for (const { name } of incidents) {
    await sandbox.admin(`/v1/${name}:resolve`, {}); // what other tests have left
  }
  const { incident } = await ann.paged();
  await says("Nobody has taken it yet");
  await shot("open");
  await sandbox.line({ mode: "down" });
  await ann.page.click("text=Acknowledge");
  await says("Acknowledging…");
  await shot("acting");
  await sandbox.line({ mode: "up" });
  await ann.page.evaluate(() => dispatchEvent(new Event("online")));
  await says("Acknowledged by Ann");
  await shot("acknowledged");
  await sandbox.admin(`/v1/incidents/${incident}:resolve`, {});
  await says("Nothing is on fire");
  await ann.page.evaluate(() => tocsin.signOut(client.app));
  await says("signed out");
  const code = await sandbox.code(ann.user);
  await ann.page.fill("#link", `${ann.site.origin}/enrol#${code}`);
  await says("This becomes the device of Ann");
  await shot("join");
});
