import { readSettingAside, type SettingAside, type Wanted } from "../setting-aside.ts";
import { refuse } from "./setting.ts";

/** After this long a person is told what is waited for. */
const patienceMs = 5000;

/**
 * Until there is a gateway to end, what ends this process ends the reading of its configuration too: that is a process of its own, which
 * waits for ever where its file never comes, and hears of nothing meanwhile. @returns gives that up
 */
export function endWhileReading(reading: AbortController): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const onGone = (): void => {
    reading.abort();
    process.exit(0);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    reading.abort();
    undo();
    process.kill(process.pid, signal);
  };
  const undo = (): void => {
    for (const signal of signals) process.off(signal, onSignal);
    process.off("disconnect", onGone);
  };
  for (const signal of signals) process.on(signal, onSignal);
  if (process.connected) process.on("disconnect", onGone);
  return undo;
}

/** No fault in the configuration: what keeps it from being read may pass, and a service manager is to try again. */
export function failStart(thrown: Error & { code?: string; remedy?: string }): never {
  const { code, message, remedy } = thrown;
  process.stderr.write(`${code === undefined ? "" : `${code}: `}${message}\n${remedy ? `  remedy: ${remedy}\n` : ""}`);
  process.exit(1);
}

/**
 * The configuration of a command, its password files not needed: bounded as that of a run is. Ends the program with exit code 2 where it has
 * faults, with 1 where it could not be read. @param bound.boundMs for reading and checking together; a minute if absent
 */
export async function readForCommand(
  file: string,
  wanted: Wanted = "check",
  bound: { readonly boundMs?: number } = {},
): Promise<SettingAside> {
  const ending = new AbortController();
  const begun = endWhileReading(ending);
  const telling = setTimeout(() => process.stderr.write(`${file}: still being read ...\n`), patienceMs);
  try {
    return await readSettingAside(file, refuse, ending.signal, { wanted, ...bound }).catch(failStart);
  } finally {
    clearTimeout(telling);
    begun();
  }
}
