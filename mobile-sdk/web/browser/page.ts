import "./stub.js";
import * as tocsin from "@tocsin/client";
import { client } from "../example/page.js";
import { cards } from "../src/screen.js";

Object.assign(globalThis, { tocsin, client, cards });
