// Writes api/*.api.md: all that an app can use of the package, and may rely on.
// With --check it fails when that has changed: a change is committed, so that somebody reads it.
import { Extractor, ExtractorConfig } from "@microsoft/api-extractor";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const check = process.argv.includes("--check");
let changed = false;

for (const entry of ["index", "worker"]) {
  const config = ExtractorConfig.prepare({
    configObjectFullPath: `${root}/api-extractor.json`,
    packageJsonFullPath: `${root}/package.json`,
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: `${root}/dist/${entry}.d.ts`,
      compiler: { tsconfigFilePath: `${root}/${entry === "worker" ? "tsconfig.worker.json" : "tsconfig.json"}` },
      apiReport: {
        enabled: true,
        reportFileName: `${entry === "index" ? "client" : entry}.api.md`,
        reportFolder: `${root}/api`,
        reportTempFolder: `${root}/node_modules/.cache`,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: "warning" } },
        extractorMessageReporting: { default: { logLevel: "none" } },
        tsdocMessageReporting: { default: { logLevel: "none" } },
      },
    },
  });
  const result = Extractor.invoke(config, { localBuild: !check, showVerboseMessages: false });
  changed ||= result.apiReportChanged;
  if (!result.succeeded) {
    process.exitCode = 1;
  }
}
if (check && changed) {
  console.error("surface: the public surface has changed: npm run surface, and commit api/");
  process.exitCode = 1;
}
