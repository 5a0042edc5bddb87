// Writes src/api.gen.ts: the types of the server's API, out of its OpenAPI
// document. It is made at each build and not committed, as the document is.
import { readFile, writeFile } from "node:fs/promises";
import openapi, { astToString } from "openapi-typescript";
import { convertObj } from "swagger2openapi";

const source = new URL("../../../api/openapi/tocsin.swagger.json", import.meta.url);
const target = new URL("../src/api.gen.ts", import.meta.url);

// A message is "v1.Device" as long as another one has a Device in it, and "Device"
// otherwise; here it has one name for good.
const text = (await readFile(source, "utf8")).replaceAll("#/definitions/v1.", "#/definitions/");
const swagger = JSON.parse(text);
swagger.definitions = Object.fromEntries(Object.entries(swagger.definitions).map(([name, schema]) => [name.replace(/^v1\./, ""), schema]));
const { openapi: document } = await convertObj(swagger, {});
const ast = await openapi(document, { alphabetize: true, emptyObjectsUnknown: true });
await writeFile(target, "// Made by tools/generate.js out of api/openapi; not to be changed by hand.\n\n" + astToString(ast));
