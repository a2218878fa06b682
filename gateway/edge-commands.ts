import { type CommitNotice, decodeNotice } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { decodePayload, type InMetric, readValue } from "@jilian/domain/sparkplug/payload.ts";
import { commitMetric, rebirthMetric } from "@jilian/domain/topics.ts";
import type { Logger } from "pino";
import { atMostEvery } from "./log-limit.ts";

export type CommandEvents = {
  readonly onRebirth: () => void;
  readonly onCommit: (notice: CommitNotice) => void;
};

/** What a primary host says of itself (Sparkplug 3.0, 5.6). */
export type HostState = { online: boolean; timestampMs: number };

/**
 * Reads what comes in by NCMD: the request for a rebirth and commit notices, both by name (in NBIRTH they have no alias). Nothing else is
 * obeyed, least of all a write to a device: what is not understood is told, at most once in ten seconds.
 */
export function commandReader(events: CommandEvents, log: Logger): (topic: string, payload: Uint8Array) => void {
  const tell = atMostEvery(10_000);
  const refuse = (topic: string, why: string): void =>
    tell((heldBack) => log.warn({ code: "COMMAND_IGNORED", topic, heldBack }, `command ignored: ${why}`));

  function obey(topic: string, metric: InMetric): void {
    if (metric.name === rebirthMetric) {
      if (readValue(metric, DataType.Boolean) === true) events.onRebirth();
    } else if (metric.name === commitMetric) {
      const value = readValue(metric, DataType.String);
      events.onCommit(decodeNotice(typeof value === "string" ? value : ""));
    } else {
      refuse(topic, `nothing here can be written; metric ${metric.name ?? `with alias ${metric.alias}`}`);
    }
  }

  /** What is wrong in a command does not stand before what is right in it. */
  function attempt(topic: string, work: () => void): void {
    try {
      work();
    } catch (thrown) {
      refuse(topic, messageOf(thrown));
    }
  }

  return (topic, payload) => {
    if (topic.split("/")[2] === "DCMD") {
      refuse(topic, "this product reads devices and never writes to one");
      return;
    }
    attempt(topic, () => {
      for (const metric of decodePayload(payload).metrics) attempt(topic, () => obey(topic, metric));
    });
  };
}

/** Reads a STATE payload; undefined when it is not one. */
export function readHostState(payload: Uint8Array): HostState | undefined {
  try {
    const found: unknown = JSON.parse(Buffer.from(payload).toString("utf8"));
    if (typeof found !== "object" || found === null) return undefined;
    const { online, timestamp } = found as Record<string, unknown>;
    return typeof online === "boolean" && typeof timestamp === "number"
      ? { online, timestampMs: timestamp }
      : undefined;
  } catch {
    return undefined;
  }
}
