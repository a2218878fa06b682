import { messageOf } from "@jilian/domain/errors.ts";
import { readSetting } from "./commands/setting.ts";
import type { SettingRead } from "./setting-aside.ts";

/** The process of setting-aside.ts: reads and checks one configuration, tells what came of it, and ends. */
async function read(file: string): Promise<SettingRead> {
  try {
    const { config, warnings } = await readSetting(file, false, (text) => {
      throw new Error(text);
    });
    return { config, warnings };
  } catch (thrown) {
    // As it is: faults stand on lines of their own.
    return { refused: thrown instanceof Error ? thrown.message : messageOf(thrown) };
  }
}

// For the gateway, where a whole group of processes is told.
process.on("SIGHUP", () => undefined);
// Also when the gateway is gone, and nobody waits any more.
process.on("disconnect", () => process.exit());
process.send?.(await read(process.argv[2] as string), () => process.disconnect());
