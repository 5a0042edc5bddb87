// Prints what the package weighs in an app, and fails when it is too much: each
// entry bundled and minified with all it needs, then compressed.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const most = 25 * 1024;
const root = fileURLToPath(new URL("..", import.meta.url));

for (const entry of ["index", "worker"]) {
  const { outputFiles } = await build({ entryPoints: [`${root}/dist/${entry}.js`], bundle: true, minify: true, format: "esm", write: false });
  const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${entry}: ${size} bytes compressed, ${outputFiles[0].contents.length} minified`);
  if (size > most) {
    console.error(`size: ${entry} is larger than ${most} bytes`);
    process.exitCode = 1;
  }
}

// What would be published: the code with its types and maps, the sources, and the three texts.
const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: root, encoding: "utf8" }));
const files = packed.files.map((f) => f.path);
const odd = files.filter(
  (f) => !/^(dist\/[\w.-]+\.(js|d\.ts)(\.map)?|src\/[\w.-]+\.ts|package\.json|README\.md|LICENSE)$/.test(f) || /\.test/.test(f),
);
const missing = ["README.md", "LICENSE", "dist/index.js", "dist/index.d.ts", "dist/index.js.map", "dist/worker.js", "dist/worker.d.ts"].filter(
  (f) => !files.includes(f),
);
console.log(`${packed.name} ${packed.version}: ${files.length} files, ${packed.size} bytes packed`);
if (odd.length > 0 || missing.length > 0) {
  console.error(`size: published and should not be: ${odd.join(", ") || "nothing"}; missing: ${missing.join(", ") || "nothing"}`);
  process.exitCode = 1;
}
const { dependencies = {} } = JSON.parse(await readFile(`${root}/package.json`, "utf8"));
if (Object.keys(dependencies).length > 0) {
  console.error("size: the package has run-time dependencies");
  process.exitCode = 1;
}
