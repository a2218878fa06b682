/**
 * The simulated cluster of the proof: enterprises with factories, meters and machines, as a registry file and as lists of metrics. What
 * their registers and states do in time stands in signals.ts. Everything follows from a seed.
 */
import { creditCodeCheck } from "@jilian/domain/identity.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { random } from "@jilian/ingest/test-random.ts";
import type { RegistryFactory, RegistryFile } from "@jilian/store/registry-schema.ts";
import { machinesOf, metersOf } from "./plant-devices.ts";
import { lastOfOldRegister } from "./signals.ts";

export type PlantOptions = {
  seed: number;
  enterprises: number;
  /** Readings lie in [fromMs, untilMs), UTC ms, but for what clocks make of them. */
  fromMs: number;
  untilMs: number;
  /** How far apart the polls of a device lie about. */
  pollMs: number;
};

/** A metric of a device, with what its register or state does. */
export type PlantMetric = {
  readonly definition: MetricDefinition;
  /** What births say of it from a whole minute on, where that is something else. */
  readonly reborn?: { readonly atMs: number; readonly definition: MetricDefinition };
  readonly signal:
    | {
        kind: "register";
        microPerCount: bigint;
        modulusCounts: number;
        perHour: number;
        float32: boolean;
        /** When another register comes in its place, which begins at `newCounts`; true time. */
        exchangeMs?: number;
      }
    /** Counts pieces: a share of those that the machine makes of its present product. */
    | { kind: "pieces"; product: string | undefined; share: number; modulusCounts: number }
    | { kind: "state"; codes: readonly (string | number | boolean)[] }
    /** A measured value, in eighths. */
    | { kind: "power"; from: number; width: number };
};

export type PlantDevice = {
  /** `factory/gateway/device`. */
  readonly key: string;
  readonly group: string;
  readonly node: string;
  readonly device: string;
  readonly seed: number;
  readonly metrics: readonly PlantMetric[];
  /** Milliseconds for one piece while it runs. */
  readonly pieceMs: number;
  /** False for a registered device that nobody ever reads. */
  readonly isRead: boolean;
};

/** A gateway with its clock and its uplink. */
export type PlantGateway = {
  readonly group: string;
  readonly node: string;
  readonly seed: number;
  readonly devices: readonly PlantDevice[];
  /** How it goes wrong; of neighbouring enterprises each goes wrong in another way. */
  readonly clock: "true" | "jumps" | "from 1970";
  /** True when it accounts for what it queued, and drops samples now and then. */
  readonly accounts: boolean;
};

/** What a register that comes in the place of another one begins with. */
export const newCounts = 1200;

export type Plant = {
  readonly options: PlantOptions;
  readonly file: RegistryFile;
  readonly gateways: readonly PlantGateway[];
};

/** Breaks, a shift across midnight, and a day with times of its own. */
function calendarOf(kind: number): NonNullable<RegistryFactory["calendar"]> {
  const days = ["mon", "tue", "wed", "thu", "fri"] as const;
  return {
    shifts: [
      { days: [...days], from: "07:30", to: "11:45" },
      { days: [...days, "sat"], from: "12:15", to: kind === 0 ? "20:00" : "17:00" },
      { days: [...days], from: "20:00", to: "02:20" },
    ],
    exceptions: [{ date: "2026-12-01", shifts: [{ from: "06:10", to: "09:30" }] }],
  };
}

const valley = { kind: "valley", from: "23:00", to: "07:00" };
const flat = { kind: "flat", from: "07:00", to: "21:20" };
const evening = { from: "21:20", to: "23:00" };
const otherMonths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12];
/** Of November the evening is the sharp one. */
const tariff = {
  periods: [
    valley,
    flat,
    { kind: "peak", ...evening, months: otherMonths },
    { kind: "sharp", ...evening, months: [11] },
  ],
  pricesCNYPerKWh: { sharp: 1.3256, peak: 1.05, flat: 0.6321, valley: 0.28 },
} as NonNullable<RegistryFactory["tariff"]>;

/** What a factory of a kind declares beside its devices. */
function declarationOf(kind: number): Partial<RegistryFactory> {
  const lines = [
    { id: "line-a", name: "一线" },
    { id: "line-b", name: "二线" },
  ];
  if (kind === 3) return {};
  const coal = [{ gas: 1.2143 }, undefined, { steam: 94.3 }][kind];
  return {
    calendar: calendarOf(kind),
    lines,
    ...(kind < 2 ? { tariff } : {}),
    ...(coal ? { standardCoalFactors: coal } : {}),
  };
}

/** The readings at the exchange of a device's register, for the registry. */
function exchangesOf(device: PlantDevice, options: PlantOptions) {
  const found = lastOfOldRegister(device, options);
  if (!found) return {};
  const [micro, counts] = [found.signal.microPerCount, found.counts];
  const reading = (n: number) => String(n / Number(1_000_000n / micro));
  const at = new Date(found.atMs).toISOString();
  return { exchanges: [{ at, oldFinal: reading(counts), newInitial: reading(newCounts) }] };
}

/** A meter whose configuration is found to be wrong, and set right after two fifths of the time. Its clock has to be right, to know when. */
function rebornAt(metric: PlantMetric, { fromMs, untilMs }: PlantOptions): PlantMetric {
  const atMs = Math.round((fromMs + (untilMs - fromMs) * 0.4) / 60_000) * 60_000;
  return { ...metric, reborn: { atMs, definition: { ...metric.definition, role: "energy.export", unit: "MWh" } } };
}

/**
 * Makes the cluster. Of four neighbouring enterprises each has another set of meters and machines and other troubles; every third has a
 * second factory.
 */
export function makePlant(options: PlantOptions): Plant {
  const { whole } = random(options.seed);
  const gateways: PlantGateway[] = [];
  const { fromMs, untilMs, pollMs } = options;

  function factoryOf(id: string, kind: number, e: number): RegistryFactory {
    // The clock of its gateway is right: the time of an exchange is written down by hand.
    const exchangeMs = kind === 1 ? Math.round(fromMs + (untilMs - fromMs) * 0.4) : undefined;
    const registered = [metersOf(kind, pollMs, exchangeMs), machinesOf(kind, pollMs)].map((own, g) => {
      const node = `gw-${g + 1}`;
      const clock = (["jumps", "true", "from 1970", "true"] as const)[(e + g) % 4] as PlantGateway["clock"];
      const made = own.map(({ device, metrics: born, pieceMs = 10_000, isRead = true, registry }) => {
        const place = { key: `${id}/${node}/${device}`, group: id, node, device };
        const metrics = clock === "true" && device === "feeder-1" ? born.map((one) => rebornAt(one, options)) : born;
        return { registry, device: { ...place, seed: whole(1e9), metrics, pieceMs, isRead } satisfies PlantDevice };
      });
      const devices = made.map(({ device }) => device);
      gateways.push({ group: id, node, seed: whole(1e9), devices, clock, accounts: e % 2 === 0 });
      return {
        id: node,
        devices: made.flatMap(({ registry, device }) =>
          registry ? [{ ...registry, ...exchangesOf(device, options) }] : [],
        ),
      };
    });
    return { id, name: `工厂 ${id}`, gateways: registered, ...declarationOf(kind) };
  }

  const enterprises = Array.from({ length: options.enterprises }, (_, e) => {
    const first17 = `91440200MA${String(e).padStart(7, "0")}`;
    const kinds = e % 3 === 2 ? [e % 4, (e + 1) % 4] : [e % 4];
    return {
      id: `e${e}`,
      name: `企业 ${e}`,
      creditCode: `${first17}${creditCodeCheck(first17)}`,
      factories: kinds.map((kind, f) => factoryOf(`e${e}-f${f}`, kind, e)),
    };
  });
  const file: RegistryFile = {
    cluster: { id: "cluster", name: "集群", gridRegion: "south" },
    pilot: {
      ...{ id: "pilot", name: "试点", demo: false },
      periods: [
        { id: "before", from: "2026-11-29", until: "2026-11-30" },
        { id: "after", from: "2026-12-01", until: "2027-02-28" },
      ],
    },
    alarms: [
      {
        ...{ id: "power", name: { zh: "功率过高" }, priority: "high", kind: "threshold", above: 150, hysteresis: 40 },
        ...{ onDelayMs: 90_000, offDelayMs: 20_000, applies: { role: "power.active" } },
      },
      {
        ...{ id: "stopped", name: { zh: "停机" }, priority: "low", kind: "state", codes: [0, 2, "STOP"] },
        ...{ offDelayMs: 5000, applies: { role: "machine.state" } },
      },
    ],
    enterprises,
  };
  return { options, file, gateways };
}
