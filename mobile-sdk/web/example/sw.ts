import { servePushes } from "@tocsin/client/worker";

servePushes({ appVersion: "1.0" });
