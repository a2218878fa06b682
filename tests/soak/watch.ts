/** Looks at a gateway's process again and again: from outside, and by what it tells on its ops port. Linux only. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { usageOf } from "../bench/processes.ts";
import { type Bound, median, type Point } from "./slope.ts";

export const everyMs = 5000;
const megabyte = 1e6;

/** What is looked at, with what it may rise. Least points are those of a run that has all its samples, less one in ten. */
export function bounds(runMs: number): Bound[] {
  const leastPoints = Math.max(3, Math.floor((0.9 * runMs) / 2 / everyMs));
  const memory = { unit: "MB", leastPoints };
  const count = { unit: "", rise: 3, leastPoints };
  return [
    { ...memory, name: "RSS", rise: 6 },
    { ...memory, name: "private memory", rise: 6 },
    { ...memory, name: "heap used", rise: 3 },
    // The collector runs when it likes.
    { ...memory, name: "heap after a full collection", rise: 1.5, leastPoints: 3 },
    { ...memory, name: "external memory", rise: 1.5 },
    { ...count, name: "open files" },
    { ...count, name: "handles" },
    { ...count, name: "timers" },
    { ...count, name: "other resources" },
    { name: "event loop delay, 99 %", unit: "ms", rise: 20, leastPoints },
  ];
}

/**
 * What may be more of it at rest in the end than at rest before all faults: what is sent and asked just then. Of timers those of requests
 * besides, that an OPC UA session had under way as it was lost: the library gives them up to 225 s.
 */
const restBounds = { "open files": 3, handles: 3, timers: 15, "other resources": 3 } as const;

/** Compares two rests, of several looks each. @returns a table, and what is more than it may be */
export function compareRest(before: readonly Look[], after: readonly Look[]): { table: string; wrong: string[] } {
  const mid = (looks: readonly Look[], name: string) => median(looks.map(({ values }) => values[name] ?? Number.NaN));
  const rows = Object.entries(restBounds).map(([name, bound]) => ({
    ...{ name, bound, before: mid(before, name), after: mid(after, name) },
  }));
  const wrong = rows.filter((row) => !(row.after - row.before <= row.bound));
  const lines = rows.map((row) => `| ${row.name} | ${row.before} | ${row.after} | +${row.bound} |`);
  return {
    table: ["| at rest | before all faults | after them | bound |", "|---|---:|---:|---:|", ...lines].join("\n"),
    wrong: wrong.map(({ name, before: was, after: is }) => `${name} at rest: ${is}, before all faults ${was}`),
  };
}

/** Prometheus' text as values by line; labels stay in the name. */
export function metricsIn(text: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const at = line.lastIndexOf(" ");
    found.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return found;
}

/** Sum of a metric over its labels. */
export function sumOf(metrics: ReadonlyMap<string, number>, name: string): number {
  return [...metrics].reduce((sum, [key, value]) => sum + (key === name || key.startsWith(`${name}{`) ? value : 0), 0);
}

/** How far a counter went up that begins again at 0, as all do of what a reload begins anew. @param values in their order, from its begin */
export function risenOf(values: readonly number[]): number {
  return values.reduce((sum, value, i) => {
    const before = values[i - 1] ?? 0;
    return sum + (value < before ? value : value - before);
  }, 0);
}

/** Open files of a process: sockets, pipes and the like counted by kind, files by name. */
export function openFiles(pid: number): Map<string, number> {
  const found = new Map<string, number>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    let target: string;
    try {
      target = readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      continue; // closed since
    }
    const kind = target.replace(/:\[\d+\]$/, "");
    found.set(kind, (found.get(kind) ?? 0) + 1);
  }
  return found;
}

/** Memory that a process has for itself alone. */
function privateBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return [...text.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kB]) => sum + 1024 * Number(kB), 0);
}

/** Live heap after a full collection as `node --trace-gc` tells it, MB; undefined where the line tells of something else. */
export function collectedMb(line: string): number | undefined {
  const found = /Mark-Compact[^\d]*[\d.]+ \([\d.]+\) -> ([\d.]+) \(/.exec(line)?.[1];
  return found === undefined ? undefined : 1.048576 * Number(found);
}

export type Look = { readonly atMs: number; readonly values: Readonly<Record<string, number>>; readonly kinds: object };

/** Five looks, a second apart. @throws when the process is gone or does not answer */
export async function lookAtRest(pid: number, opsPort: number): Promise<Look[]> {
  const looks: Look[] = [];
  for (let i = 0; i < 5; i += 1) {
    looks.push(await lookAt(pid, opsPort, 1000 * i));
    await sleep(1000);
  }
  return looks;
}

/** One look. @throws when the process is gone or does not answer */
async function lookAt(pid: number, opsPort: number, atMs: number): Promise<Look> {
  const signal = AbortSignal.timeout(4000);
  const metrics = metricsIn(await (await fetch(`http://127.0.0.1:${opsPort}/metrics`, { signal })).text());
  const resources = [...metrics].flatMap(([key, value]) => {
    const type = /^nodejs_active_resources\{type="(\w+)"\}$/.exec(key)?.[1];
    return type === undefined ? [] : [[type, value] as const];
  });
  const files = openFiles(pid);
  const all = resources.reduce((sum, [, value]) => sum + value, 0);
  const timers = resources.find(([type]) => type === "Timeout")?.[1] ?? 0;
  const handles = sumOf(metrics, "nodejs_active_handles_total");
  const values = {
    RSS: usageOf(pid).rssBytes / megabyte,
    "private memory": privateBytes(pid) / megabyte,
    "heap used": sumOf(metrics, "nodejs_heap_size_used_bytes") / megabyte,
    "external memory": sumOf(metrics, "nodejs_external_memory_bytes") / megabyte,
    "open files": [...files.values()].reduce((sum, count) => sum + count, 0),
    handles,
    timers,
    "other resources": all - timers,
    "event loop delay, 99 %": 1000 * sumOf(metrics, "nodejs_eventloop_lag_p99_seconds"),
    pending: sumOf(metrics, "jilian_gateway_outbox_pending_records"),
    failures: sumOf(metrics, "jilian_gateway_device_failures_total"),
    opens: sumOf(metrics, "jilian_gateway_line_opens_total"),
  };
  return { atMs, values, kinds: { files: Object.fromEntries(files), resources: Object.fromEntries(resources) } };
}

export type Watch = {
  readonly looks: readonly Look[];
  /** Of one quantity, all looks in order. */
  readonly points: (name: string) => readonly Point[];
  /** Takes a line that the process wrote. */
  readonly line: (text: string) => void;
  /** Why looks failed. */
  readonly missed: readonly string[];
  /** Resolves when the last look is done. */
  readonly ended: Promise<void>;
};

/** Looks until the run ends. A look that fails is one that is missing. */
export function startWatch(pid: number, opsPort: number, runMs: number, onLook: (look: Look) => void): Watch {
  const startMs = performance.now();
  const looks: Look[] = [];
  const collected: Point[] = [];
  const missed: string[] = [];
  const run = async (): Promise<void> => {
    for (let atMs = everyMs; atMs <= runMs; atMs += everyMs) {
      await sleep(Math.max(0, startMs + atMs - performance.now()));
      try {
        const look = await lookAt(pid, opsPort, performance.now() - startMs);
        looks.push(look);
        onLook(look);
      } catch (error) {
        missed.push(`${Math.round(atMs / 1000)} s: ${String(error)}`);
      }
    }
  };
  return {
    looks,
    missed,
    points: (name) =>
      name === "heap after a full collection"
        ? collected
        : looks.map(({ atMs, values }) => ({ atMs, value: values[name] ?? Number.NaN })),
    line: (text) => {
      const value = collectedMb(text);
      if (value !== undefined) collected.push({ atMs: performance.now() - startMs, value });
    },
    ended: run(),
  };
}
