import { dateNumber } from "@jilian/domain/calendar.ts";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { type Decimal, decimalOf, parseDecimal } from "@jilian/domain/decimal.ts";
import { ratioOf } from "@jilian/domain/meter-ratio.ts";
import { type Carrier, carriers } from "@jilian/domain/roles.ts";
import { type Static, Type } from "typebox";
import { dateSchema, orderedDates, strict } from "./registry-parts.ts";

/** A reading in the unit of the meter's metric. Text keeps every digit of a long register. */
const reading = Type.Union(
  [Type.Number({ minimum: 0 }), Type.String({ pattern: "^[0-9]{1,18}(?:\\.[0-9]{1,9})?$", maxLength: 28 })],
  { description: "a reading from 0 on, in the unit of the metric; in quotes when it has more than 15 digits" },
);
const ratio = Type.Union([Type.Number(), Type.String({ maxLength: 40 })], {
  description: "ratio of transformers: 160, or 800/5 as on the plate",
});

/** What the registry can say of a meter, all of it optional. Without it, what the gateway's births say holds. */
export const meterFields = {
  /** The energy carrier; electricity if absent. */
  carrier: Type.Optional(Type.Union(carriers.map((c) => Type.Literal(c)))),
  /** The meter above, in whose reading this one is contained: `device` of the same gateway, or `gateway/device`. */
  parent: Type.Optional(
    Type.String({ minLength: 1, maxLength: 129, description: "the meter above: device, or gateway/device" }),
  ),
  /** Where the register starts again from 0; before what the births say. */
  modulus: Type.Optional(reading),
  /** What one count of the register stands for; before what the births say. */
  resolution: Type.Optional(reading),
  /** Ratios of the current and voltage transformers before it: energy is the register times both. Not for a tag whose scale holds them. */
  ctRatio: Type.Optional(ratio),
  ptRatio: Type.Optional(ratio),
  calibratedOn: Type.Optional(dateSchema),
  calibrationDueOn: Type.Optional(dateSchema),
  /** Exchanges (换表) of the device behind this id, in the order of time. */
  exchanges: Type.Optional(
    Type.Array(
      Type.Object(
        {
          at: Type.String({
            pattern: "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}(?::\\d{2}(?:\\.\\d{1,3})?)?(?:Z|[+-]\\d{2}:\\d{2})$",
            description: "date and time with zone: 2026-05-03T10:20:00+08:00",
          }),
          /** Last reading of the old meter, first reading of the new one. */
          oldFinal: reading,
          newInitial: reading,
        },
        strict,
      ),
      { maxItems: 100 },
    ),
  ),
};
const meterSchema = Type.Object(meterFields);
type MeterFields = Static<typeof meterSchema>;
type Device = MeterFields & {
  id: string;
  kind: string;
  meteringPoint?: "incoming" | "feeder";
  ratedPowerKW?: number;
};

type Value = number | string | undefined;

/** A meter as figures need it. Readings and ratios stand as they were written: numbers or decimal text. */
export type Meter = {
  /** `factory/gateway/device`. */
  readonly key: string;
  readonly meteringPoint: "incoming" | "feeder";
  readonly carrier: Carrier;
  /**
   * Key of the meter above: the declared one, or for a feeder the only incoming meter of its factory and carrier. Undefined for an
   * incoming meter, and for a feeder without a declared one where none or several are incoming.
   */
  readonly parent: string | undefined;
  readonly ratedPowerKW: number | undefined;
  /** Of the register itself, as exchanges are; undefined where the registry does not say: then what the births say holds. */
  readonly modulus: Value;
  readonly resolution: Value;
  /** A number, or two with `/` or `:` between them. */
  readonly ctRatio: Value;
  readonly ptRatio: Value;
  /** In the order of time. */
  readonly exchanges: readonly {
    readonly atMs: number;
    readonly oldFinal: number | string;
    readonly newInitial: number | string;
  }[];
  /** `YYYY-MM-DD`; the due date is the last one on which the calibration counts. */
  readonly calibratedOn: string | undefined;
  readonly calibrationDueOn: string | undefined;
};

function exact(value: number | string): Decimal {
  return typeof value === "string" ? parseDecimal(value) : decimalOf(value);
}

function isBelow(a: number | string, b: number | string): boolean {
  const [x, y] = [exact(a), exact(b)];
  const scale = Math.max(x.scale, y.scale);
  const at = ({ digits, scale: own }: Decimal) => digits * 10n ** BigInt(scale - own);
  return at(x) < at(y);
}

function isRatio(text: number | string): boolean {
  try {
    ratioOf(text);
    return true;
  } catch {
    return false;
  }
}

/** UTC ms of a date and time with zone; undefined when there is no such time. */
function timeOf(text: string): number | undefined {
  if (dateNumber(text.slice(0, 10)) === undefined) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

function checkExchanges({ exchanges = [], modulus }: MeterFields, path: string): SemanticFault[] {
  const faults: SemanticFault[] = [];
  let before = Number.NEGATIVE_INFINITY;
  for (const [i, exchange] of exchanges.entries()) {
    const at = `${path}/exchanges/${i}`;
    const ms = timeOf(exchange.at);
    if (ms === undefined)
      faults.push({ path: `${at}/at`, expected: "a date and time that exist", remedy: "correct it" });
    else if (ms <= before) {
      const expected = "a time after that of the exchange before";
      faults.push({ path: `${at}/at`, expected, remedy: "put the exchanges in the order of time, each once" });
    }
    before = ms ?? before;
    for (const key of ["oldFinal", "newInitial"] as const)
      if (modulus !== undefined && !isBelow(exchange[key], modulus)) {
        const expected = `a reading below the modulus ${modulus}`;
        faults.push({ path: `${at}/${key}`, expected, remedy: "correct the reading or the modulus" });
      }
  }
  return faults;
}

/** What the schema cannot say of a meter, and fields of a meter that another kind of device must not have. */
export function checkMeterFields(fields: MeterFields, kind: string, path: string): SemanticFault[] {
  // A carrier has always been allowed everywhere.
  const own = (Object.keys(meterFields) as (keyof MeterFields)[]).filter((key) => key !== "carrier");
  const misplaced = own.filter((key) => kind !== "meter" && fields[key] !== undefined);
  const faults = misplaced.map((key) => ({
    path: `${path}/${key}`,
    expected: "nothing: only meters have one",
    remedy: 'remove it or set "kind: meter"',
  }));
  for (const key of ["modulus", "resolution"] as const) {
    const value = fields[key];
    if (value !== undefined && !isBelow(0, value))
      faults.push({ path: `${path}/${key}`, expected: "more than 0", remedy: "take it from the manual, or remove it" });
  }
  for (const key of ["ctRatio", "ptRatio"] as const) {
    const value = fields[key];
    if (value !== undefined && !isRatio(value))
      faults.push({
        path: `${path}/${key}`,
        expected: "a ratio above 0: 160, 800/5",
        remedy: "take it from the plate",
      });
  }
  const { calibratedOn, calibrationDueOn } = fields;
  faults.push(...orderedDates(path, { calibratedOn }, { calibrationDueOn }));
  return [...faults, ...checkExchanges(fields, path)];
}

type Gateways = readonly { id: string; devices: readonly Device[] }[];

/** Every meter of a factory by `gateway/device`. */
function metersOf(gateways: Gateways): Map<string, { device: Device; gatewayId: string; path: string }> {
  const found = gateways.flatMap(({ id: gatewayId, devices }, g) =>
    devices.map((device, d) => ({ device, gatewayId, path: `gateways/${g}/devices/${d}` })),
  );
  return new Map(
    found.filter(({ device }) => device.kind === "meter").map((one) => [`${one.gatewayId}/${one.device.id}`, one]),
  );
}

function parentOf({ parent }: MeterFields, gatewayId: string): string | undefined {
  return parent === undefined || parent.includes("/") ? parent : `${gatewayId}/${parent}`;
}

/** Parents of a factory's meters: that they exist, have the same carrier, and never lead back. */
export function checkParents(gateways: Gateways, factoryPath: string): SemanticFault[] {
  const meters = metersOf(gateways);
  const carrierOf = (device: MeterFields) => device.carrier ?? "electricity";
  const faultOf = (device: Device, gatewayId: string): Omit<SemanticFault, "path"> | undefined => {
    const above = parentOf(device, gatewayId);
    if (above === undefined) return undefined;
    if (device.meteringPoint === "incoming")
      return { expected: "nothing: above an incoming meter is no other of the factory", remedy: "remove it" };
    const parent = meters.get(above)?.device;
    if (!parent)
      return { expected: "a meter of the same factory: device, or gateway/device", remedy: "correct the id" };
    if (carrierOf(parent) !== carrierOf(device))
      return { expected: `a meter of ${carrierOf(device)}`, remedy: "correct the id or the carriers" };
    const passed = new Set([`${gatewayId}/${device.id}`]);
    for (let at: string | undefined = above; at !== undefined; ) {
      if (passed.has(at)) return { expected: "a meter that is not below this one", remedy: "break the circle" };
      passed.add(at);
      const next = meters.get(at);
      at = next && parentOf(next.device, next.gatewayId);
    }
    return undefined;
  };
  return [...meters.values()].flatMap(({ device, gatewayId, path }) => {
    const fault = faultOf(device, gatewayId);
    return fault ? [{ path: `${factoryPath}/${path}/parent`, ...fault }] : [];
  });
}

/** The meters of a checked factory, in the order of the file. */
export function placeMeters(factoryId: string, gateways: Gateways): Meter[] {
  const meters = metersOf(gateways);
  const incoming = Map.groupBy(
    [...meters].filter(([, { device }]) => device.meteringPoint === "incoming"),
    ([, { device }]) => device.carrier ?? "electricity",
  );
  return [...meters].map(([key, { device, gatewayId }]) => {
    const { meteringPoint = "feeder", carrier = "electricity", exchanges = [], ...facts } = device;
    const alone = incoming.get(carrier)?.length === 1 ? incoming.get(carrier)?.[0]?.[0] : undefined;
    const above = meteringPoint === "incoming" ? undefined : (parentOf(device, gatewayId) ?? alone);
    return {
      key: `${factoryId}/${key}`,
      meteringPoint,
      carrier,
      parent: above && `${factoryId}/${above}`,
      ratedPowerKW: facts.ratedPowerKW,
      modulus: facts.modulus,
      resolution: facts.resolution,
      ctRatio: facts.ctRatio,
      ptRatio: facts.ptRatio,
      exchanges: exchanges.map(({ at, ...readings }) => ({ atMs: timeOf(at) ?? Number.NaN, ...readings })),
      calibratedOn: facts.calibratedOn,
      calibrationDueOn: facts.calibrationDueOn,
    };
  });
}
