import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Line } from "./line.ts";
import type { LineConfig } from "./line-config.ts";
import { placeOf } from "./line-facts.ts";
import { createListeners } from "./line-listen.ts";
import { listenedTo, type Medium } from "./line-medium.ts";
import { serialMedium } from "./line-serial.ts";
import { createLine, type LineStats, type SharedLine } from "./line-shared.ts";
import { tcpMedium } from "./line-socket.ts";

/** The lines of a gateway, by id. Ports are opened by the first exchange on each. */
export type Lines = {
  /** @param id of a line in the configuration, which was checked: a line that does not exist is a defect */
  readonly line: (id: string) => Line;
  /** Where a line is now, for people. */
  readonly endpointOf: (id: string) => string;
  /** What it has to itself, whatever it is called. */
  readonly placeOf: (id: string) => string;
  readonly stats: () => LineStats[];
  /**
   * Ends lines that are not among these as they are, and adds those that are not there. The others go on, with exchanges under way, and
   * forget devices that are not among these any more.
   */
  readonly set: (configs: readonly LineConfig[], devices: readonly OnLine[]) => Promise<void>;
  /** Ends every line at once; exchanges under way fail. */
  readonly close: () => Promise<void>;
};

/** A device and the line that it is on. */
export type OnLine = { readonly id: string; readonly line: string };

type Entry = { readonly config: LineConfig; readonly endpoint: () => string; readonly line: SharedLine };

/** @param lateUntilMs of a line that is open: until when what comes on it may be an answer to what another process has asked */
export function createLines(
  initial: readonly LineConfig[],
  log: Logger,
  lateUntilMs: (config: LineConfig) => number = () => Number.NEGATIVE_INFINITY,
): Lines {
  const listeners = createListeners({ log, strangerMs: 10_000 });
  const mediumOf = (config: LineConfig): Medium => {
    if (config.kind === "serial") return serialMedium(config);
    return config.kind === "tcp" ? tcpMedium(config, log) : listeners.medium(config);
  };
  function entryOf(config: LineConfig): Entry {
    const medium = listenedTo(mediumOf(config), () => lateUntilMs(config));
    return { config, endpoint: medium.endpoint, line: createLine(config.id, medium, log) };
  }
  const byId = (entries: readonly Entry[]) => new Map(entries.map((entry) => [entry.config.id, entry]));
  let lines = byId(initial.map(entryOf));
  const known = (id: string) => {
    const found = lines.get(id);
    if (found === undefined) throw new Error(`there is no line ${id}`);
    return found;
  };
  return {
    line: (id) => known(id).line,
    endpointOf: (id) => known(id).endpoint(),
    placeOf: (id) => placeOf(known(id).config),
    stats: () => [...lines.values()].map(({ line }) => line.stats()),
    async set(configs, devices) {
      const isKept = ({ config }: Entry) => configs.some((one) => isDeepStrictEqual(one, config));
      // All of them before the first new one: that may be on the port of another.
      await Promise.all([...lines.values()].filter((entry) => !isKept(entry)).map(({ line }) => line.close()));
      await listeners.keep(configs.filter((config) => config.kind === "listen"));
      const kept = byId([...lines.values()].filter(isKept));
      for (const [id, { line }] of kept) {
        line.keep(new Set(devices.filter((one) => one.line === id).map((one) => one.id)));
      }
      lines = byId(configs.map((config) => kept.get(config.id) ?? entryOf(config)));
    },
    async close() {
      await Promise.all([...lines.values()].map(({ line }) => line.close()));
      await listeners.close();
    },
  };
}
