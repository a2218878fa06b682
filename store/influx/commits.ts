import type { CommitEntry } from "../telemetry.ts";

/** Commit ranges as a text of ASCII, which can be cut anywhere. */
export function writeCommits(entries: readonly CommitEntry[]): string {
  const some = entries.filter(({ ranges }) => ranges.length > 0);
  if (some.length === 0) return "";
  const text = JSON.stringify(some.map((e) => [e.group, e.node, e.epoch, e.ranges]));
  return text.replaceAll(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export function readCommits(text: string): CommitEntry[] {
  if (text === "") return [];
  const entries = JSON.parse(text) as [string, string, string, [number, number][]][];
  return entries.map(([group, node, epoch, ranges]) => ({ group, node, epoch, ranges }));
}
