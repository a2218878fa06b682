import { hostStore } from "../thread/host.ts";
import type { InfluxSetting } from "./config.ts";
import { openInfluxEngine } from "./engine.ts";

await hostStore<InfluxSetting>(openInfluxEngine);
