import "./stub.js";
import * as tocsin from "@tocsin/client";
import { client } from "../example/page.js";

Object.assign(globalThis, { tocsin, client });
