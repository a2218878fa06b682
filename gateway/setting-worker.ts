import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "@jilian/domain/errors.ts";
import { readSetting } from "./commands/setting.ts";
import type { SettingRead } from "./setting-aside.ts";

/** The thread of setting-aside.ts: reads and checks one configuration, tells what came of it, and ends. */
async function read(file: string): Promise<SettingRead> {
  try {
    const { config } = await readSetting(file, false, (text) => {
      throw new Error(text);
    });
    return { config };
  } catch (thrown) {
    return { refused: messageOf(thrown) };
  }
}

parentPort?.postMessage(await read(workerData as string));
