/**
 * A process of the tests: runs all services inside this process, with health and metrics, closes them, and then has to end by itself; a
 * timer, thread or socket left behind would keep it. Usage: node test-exit.ts platform.yaml
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { startOps } from "@jilian/gateway/ops.ts";
import { readRegistry } from "@jilian/store/registry.ts";
import { pino } from "pino";
import { collectDefaultMetrics, Registry } from "prom-client";
import { readPlatformConfig, serviceNames } from "./config.ts";
import { platformSource } from "./ops-platform.ts";
import { startPlatform } from "./platform.ts";
import { storePaths } from "./stores.ts";

const [, , file = ""] = process.argv;
const baseDir = dirname(resolve(file));
const config = readPlatformConfig(readFileSync(file, "utf8"), file, serviceNames);
const registry = readRegistry(readFileSync(resolve(baseDir, "cluster.yaml"), "utf8"), "cluster.yaml");
if (!config.ok || !registry.ok) throw new Error("wrong configuration");
const log = pino({ level: "silent" });
const parts = { registry: registry.value, clock: systemClock, clockSetting: undefined, log, baseDir };
const platform = await startPlatform(serviceNames, config.value, parts);
const metrics = new Registry();
collectDefaultMetrics({ register: metrics });
const paths = storePaths(config.value, baseDir);
const watched = { running: platform.running, registry: registry.value, clock: systemClock, paths, version: "0" };
const ops = await startOps({ host: "127.0.0.1", port: 0 }, { source: platformSource(watched, metrics), log });
await fetch(`http://127.0.0.1:${ops.port}/metrics`).then((answer) => answer.text());
await Promise.all([platform.close(), ops.close()]);
process.stdout.write("closed\n");
