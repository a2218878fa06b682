import { readFileSync } from "node:fs";

/** What a process has used: CPU seconds since its start, resident bytes now. Linux only. */
export type Usage = { cpuS: number; rssBytes: number };

/** Clock ticks a second of /proc/[pid]/stat; 100 on every Linux that Node runs on. */
const ticksPerS = 100;

/** @throws when the process is gone, or the system has no /proc */
export function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold blanks; the fields after it are fixed (proc(5): utime 14, stime 15).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return { cpuS: (Number(fields[11]) + Number(fields[12])) / ticksPerS, rssBytes: pages * 4096 };
}

/** What a process holds of memory, bytes. Linux only. */
export type Memory = {
  /** Resident: what other processes share with it and what the system could drop (mapped files) included. */
  rssBytes: number;
  /** The same with what is shared divided among those who share it. */
  pssBytes: number;
  /** Of no file: heaps and stacks, which cannot be dropped. */
  anonymousBytes: number;
};

/** @throws when the process is gone, or the system has no /proc/[pid]/smaps_rollup (Linux 4.14) */
export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const bytesOf = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1]);
  return { rssBytes: bytesOf("Rss"), pssBytes: bytesOf("Pss"), anonymousBytes: bytesOf("Anonymous") };
}

/** The value below which a share of the numbers lies. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
