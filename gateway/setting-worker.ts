import { messageOf } from "@jilian/domain/errors.ts";
import { readSetting } from "./commands/setting.ts";
import type { SettingRead, Wanted } from "./setting-aside.ts";

/** The process of setting-aside.ts: reads and checks one configuration, tells what came of it, and ends. */
async function read(file: string, wanted: Wanted): Promise<SettingRead> {
  try {
    const { config, warnings, notes, printed } = await readSetting(file, wanted !== "run", (text) => {
      throw new Error(text);
    });
    return { config, warnings, notes, printed: wanted === "print" ? printed() : "" };
  } catch (thrown) {
    // As it is: faults stand on lines of their own.
    return { refused: thrown instanceof Error ? thrown.message : messageOf(thrown) };
  }
}

/** Whoever waits for this process is gone, killed perhaps. No plain exit: that would wait for the thread which waits for a file. */
const endAlone = (): void => void process.kill(process.pid, "SIGKILL");

// For the gateway, where a whole group of processes is told.
process.on("SIGHUP", () => undefined);
process.on("disconnect", endAlone);
// It may have been gone before anything here listened.
if (process.send !== undefined && !process.connected) endAlone();
const [file, wanted] = process.argv.slice(2) as [string, Wanted];
process.send?.(await read(file, wanted), () => {
  // Nothing is waited for any more, and whatever else was loaded into this process does not hold it.
  process.off("disconnect", endAlone).on("disconnect", () => process.exit());
  process.disconnect();
});
