/** Every reading that was ever handed to a gateway's outbox and not dropped by it: what the oracle reads. Columns, since there are millions. */
import type { Value } from "@jilian/domain/datatypes.ts";
import type { Plant, PlantDevice, PlantMetric } from "./plant.ts";
import type { Poll, Reading } from "./signals.ts";

const hourMs = 3_600_000;

/** The readings of one metric, by source time, strictly increasing. */
export type Column = {
  readonly device: PlantDevice;
  readonly metric: PlantMetric;
  length: number;
  times: Float64Array;
  /** Millionths of the unit; 0 where there is no usable one. */
  micro: BigInt64Array;
  /** 1: usable (good or uncertain, not null); 2: good. */
  flags: Uint8Array;
  /** Number of the state in `codes`, of states. */
  states: Uint8Array;
  readonly codes: string[];
};

/** What a gateway counted in an hour of a device: polls, their samples, those of bad quality, and what of them was handed on. */
export type Queued = { polls: number; queued: number; bad: number; kept: number };

export type Book = {
  /** By device key, in the order of the device's metrics; then what those were after births changed them, each as a metric of its own. */
  readonly columns: ReadonlyMap<string, readonly Column[]>;
  /** Of devices whose gateway accounts: by hour of the source time. */
  readonly queued: ReadonlyMap<string, Map<number, Queued>>;
  /** Platform time of a device's first birth. */
  readonly births: Map<string, number>;
  readonly note: (device: PlantDevice, poll: Poll, kept: boolean) => void;
  readonly samples: () => number;
};

function codeOf(value: Value): string {
  return typeof value === "boolean" ? (value ? "1" : "0") : String(value);
}

function grown(column: Column): void {
  if (column.length < column.times.length) return;
  const size = Math.max(64, column.times.length * 2);
  const copies = [new Float64Array(size), new BigInt64Array(size), new Uint8Array(size), new Uint8Array(size)] as const;
  copies[0].set(column.times);
  copies[1].set(column.micro);
  copies[2].set(column.flags);
  copies[3].set(column.states);
  [column.times, column.micro, column.flags, column.states] = copies;
}

function append(column: Column, atMs: number, { value, status, micro }: Reading): void {
  grown(column);
  const at = column.length;
  if (at > 0 && (column.times[at - 1] as number) >= atMs) throw new Error("source times of a device must increase");
  const severity = status >>> 30;
  const usable = severity < 2 && value !== null;
  column.times[at] = atMs;
  column.micro[at] = usable ? (micro ?? 0n) : 0n;
  column.flags[at] = (usable ? 1 : 0) + (severity === 0 ? 2 : 0);
  if (usable && column.metric.signal.kind === "state") {
    const code = codeOf(value);
    if (!column.codes.includes(code)) column.codes.push(code);
    column.states[at] = column.codes.indexOf(code);
  }
  column.length += 1;
}

/** What a metric is once births say something else of it. */
const afterBirth = ({ reborn, ...metric }: PlantMetric): PlantMetric[] =>
  reborn ? [{ ...metric, definition: reborn.definition }] : [];

/** Where a reading of a metric stands: by what births said at its time. */
function columnOf(columns: readonly Column[], { metrics }: PlantDevice, metric: number, atMs: number): Column {
  const isAfter = (metrics[metric]?.reborn?.atMs ?? Number.POSITIVE_INFINITY) <= atMs;
  const place = isAfter ? metrics.length + metrics.slice(0, metric).flatMap(afterBirth).length : metric;
  return columns[place] as Column;
}

export function bookOf(plant: Plant): Book {
  const columns = new Map<string, Column[]>();
  const queued = new Map<string, Map<number, Queued>>();
  for (const { devices, accounts } of plant.gateways)
    for (const device of devices) {
      const said = [...device.metrics, ...device.metrics.flatMap(afterBirth)];
      const own = said.map(
        (metric): Column => ({
          device,
          metric,
          length: 0,
          times: new Float64Array(0),
          micro: new BigInt64Array(0),
          flags: new Uint8Array(0),
          states: new Uint8Array(0),
          codes: [],
        }),
      );
      columns.set(device.key, own);
      if (accounts) queued.set(device.key, new Map());
    }
  let samples = 0;

  return {
    columns,
    queued,
    births: new Map(),
    samples: () => samples,
    note: (device, { sourceMs, readings }, kept) => {
      const hours = queued.get(device.key);
      const hour = Math.floor(sourceMs / hourMs) * hourMs;
      if (hours) {
        const own = hours.get(hour) ?? { polls: 0, queued: 0, bad: 0, kept: 0 };
        own.polls += 1;
        own.queued += readings.length;
        own.bad += readings.filter(({ status }) => status >>> 30 > 1).length;
        own.kept += kept ? readings.length : 0;
        hours.set(hour, own);
      }
      if (!kept) return;
      samples += readings.length;
      const found = columns.get(device.key) as Column[];
      for (const reading of readings) append(columnOf(found, device, reading.metric, sourceMs), sourceMs, reading);
    },
  };
}
