import { hostStore } from "../thread/host.ts";
import type { Setting } from "./database.ts";
import { openEngine } from "./engine.ts";

await hostStore<Setting>(openEngine);
