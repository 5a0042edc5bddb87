// Writes src/api.gen.ts: the types of the server's API, out of its OpenAPI
// document. It is made at each build and not committed, as the document is.
import { readFile, writeFile } from "node:fs/promises";
import openapi, { astToString } from "openapi-typescript";
import { convertObj } from "swagger2openapi";

const source = new URL("../../../api/openapi/tocsin.swagger.json", import.meta.url);
const target = new URL("../src/api.gen.ts", import.meta.url);

const swagger = JSON.parse(await readFile(source, "utf8"));
const { openapi: document } = await convertObj(swagger, {});
const ast = await openapi(document, { alphabetize: true, emptyObjectsUnknown: true });
await writeFile(target, "// Made by tools/generate.js out of api/openapi; not to be changed by hand.\n\n" + astToString(ast));
