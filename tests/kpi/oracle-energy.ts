/** The oracle, fourth part: energy, what it costs and what it makes, meter by meter and factory by factory. */
import type { Column } from "./book.ts";
import { nearest, nothing, type OracleFigure, passedOf, type Span, seenUntil } from "./oracle-machines.ts";
import {
  type Amount,
  amountOf,
  decimal,
  type Gauged,
  hour,
  minute,
  type Register,
  ratio,
  rounded,
  sumOf,
} from "./oracle-readings.ts";
import type { OracleDevice, OraclePlace, OracleSite } from "./oracle-sites.ts";
import { type Band, bandAt, bands } from "./oracle-tariff.ts";

/** What is asked of one span at every level; what is worked out once is kept. */
export type Asked = {
  span: Span;
  columns: (device: string) => readonly Column[];
  amounts: Map<Column, Amount>;
  online: Map<string, number>;
  /** By device and band of the tariff. */
  bands: Map<string, Amount>;
  gauges: Map<Column, Gauged>;
  region: keyof typeof carbon;
};

/** A sum over counters of what they tell, or why nothing is told; `due` is time that ought to be covered. */
export type Sum = {
  amount: bigint;
  estimated: bigint;
  covered: number;
  due: number;
  partial: boolean;
  lack?: undefined;
};
export type Part = Sum | { lack: string; due: number };

const roles = {
  electricity: "energy.import",
  gas: "gas.import",
  water: "water.import",
  steam: "steam.import",
  heat: "heat.import",
  compressed_air: "compressed_air.import",
} as const;
type Carrier = keyof typeof roles;
const carriers = Object.keys(roles) as Carrier[];

/** kgce for one unit, hundred-thousandths (GB/T 2589-2020, annex A); the others are declared by the factory. */
const coal: Partial<Record<Carrier, bigint>> = {
  electricity: 12_290n,
  heat: 3412n,
  water: 25_710n,
  compressed_air: 4000n,
};
/** kgCO2 for one kWh, ten-thousandths, by grid, 2023. */
export const carbon = { national: 5306n, east: 5500n, central: 5271n, south: 4042n } as const;

export function elapsed({ span }: Asked): number {
  return Math.max(1, passedOf(span));
}

export function amount({ span, amounts }: Asked, column: Column, register?: Register): Amount {
  const found = amounts.get(column) ?? amountOf(column, span.from, seenUntil(span), register);
  amounts.set(column, found);
  return found;
}

const carrierOf = ({ registered }: OracleDevice): Carrier => registered.carrier ?? "electricity";
const isMeter = ({ registered }: OracleDevice, carrier: string) =>
  registered.kind === "meter" && (registered.carrier ?? "electricity") === carrier;

/** The register that counts what comes through a meter. */
function registerColumn(asked: Asked, device: OracleDevice): Column | undefined {
  const role = roles[carrierOf(device)];
  return asked.columns(device.key).find((c) => c.metric.definition.role === role && c.length > 0);
}

/** Through which meters all of a carrier comes in: of a line those behind no other of its own. */
function incoming(place: OraclePlace, level: string, carrier: Carrier): OracleDevice[] {
  const own = place.devices.filter((device) => isMeter(device, carrier));
  if (level !== "line") return own.filter(({ registered }) => registered.meteringPoint === "incoming");
  // A feeder that names no meter above it lies behind the only incoming one of its factory.
  return own.filter((device) => !own.some(({ key }) => key === parentOf(place, device)));
}

function parentOf(place: OraclePlace, device: OracleDevice): string | undefined {
  if (device.parent !== undefined || device.registered.meteringPoint === "incoming") return device.parent;
  const { gateways, id } = place.file;
  const above = gateways.flatMap((gateway) =>
    gateway.devices
      .filter((d) => d.meteringPoint === "incoming" && (d.carrier ?? "electricity") === carrierOf(device))
      .map((d) => `${id}/${gateway.id}/${d.id}`),
  );
  return above.length === 1 ? above[0] : undefined;
}

/** @param of what a meter's register says; its part in some minutes where only those count */
function counted(
  asked: Asked,
  meters: readonly OracleDevice[],
  whenNone: string,
  of: (column: Column, register: Register) => Amount = (column, register) => amount(asked, column, register),
): Part {
  const due = elapsed(asked) * meters.length;
  if (meters.length === 0) return { lack: whenNone, due };
  const told = meters.flatMap((device) => {
    const column = registerColumn(asked, device);
    const own = column && of(column, device.register);
    if (!own?.told) return [];
    const most = Math.max(0, elapsed(asked) - asked.span.lost(device.key));
    return [{ ...own, covered: Math.min(own.covered, most) }];
  });
  if (told.length === 0) return { lack: "no_data", due };
  const { amount: all, estimated, covered, untold } = sumOf(told);
  return { amount: all, estimated, covered, due, partial: told.length < meters.length || untold > 0 };
}

/** Parts together: one that is due and not known makes the sum a lower bound. */
function together(parts: readonly Part[]): Part {
  const told = parts.filter((part): part is Sum => part.lack === undefined);
  const lacking = parts.filter((part) => part.lack !== undefined);
  const due = parts.reduce((ms, part) => ms + part.due, 0);
  if (told.length === 0) {
    const missed = lacking.filter((part) => part.due > 0);
    const reasons = (missed.length > 0 ? missed : lacking).map((part) => part.lack);
    return { lack: nearest(reasons) ?? "no_meter", due };
  }
  return {
    amount: told.reduce((all, part) => all + part.amount, 0n),
    estimated: told.reduce((all, part) => all + part.estimated, 0n),
    covered: told.reduce((ms, part) => ms + part.covered, 0),
    due,
    partial: told.some((part) => part.partial) || lacking.some((part) => part.due > 0),
  };
}

function times(part: Part, factor: bigint): Part {
  if (part.lack !== undefined) return part;
  return { ...part, amount: part.amount * factor, estimated: part.estimated * factor };
}

function figure(part: Part, places: number): OracleFigure {
  if (part.lack !== undefined) return nothing(part.lack, part.lack === "no_data" ? 0 : null, { part });
  return {
    value: decimal(part.amount, places),
    reason: null,
    completeness: ratio(BigInt(part.covered), BigInt(part.due)),
    estimatedShare: ratio(part.estimated, part.amount),
    lowerBound: part.partial,
    terms: { part },
  };
}

const through = (asked: Asked, place: OraclePlace, level: string, carrier: Carrier) =>
  counted(asked, incoming(place, level, carrier), "no_meter");

/** All carriers of one factory as standard coal, kgce at 11 places; one without a factor is not a small term. */
export function comprehensive(asked: Asked, place: OraclePlace, level: string): Part {
  const declared = place.file.standardCoalFactors as Partial<Record<Carrier, number>> | undefined;
  const parts = carriers.map((carrier): Part => {
    const part = through(asked, place, level, carrier);
    if (part.lack === "no_meter") return part;
    const own = declared?.[carrier];
    const factor = coal[carrier] ?? (own === undefined ? undefined : BigInt(Math.round(own * 1e5)));
    return factor === undefined ? { lack: "no_factor", due: part.due } : times(part, factor);
  });
  const sum = together(parts);
  return parts.some(({ lack }) => lack === "no_factor") ? { lack: "no_factor", due: sum.due } : sum;
}

/** What a register says of the minutes of a band; a stretch of neighbouring ones ends with its hour. */
function inBand(asked: Asked, place: OraclePlace, band: Band, column: Column, register: Register): Amount {
  const key = `${column.device.key} ${band}`;
  const found = asked.bands.get(key) ?? findInBand(asked, place, band, column, register);
  asked.bands.set(key, found);
  return found;
}

function findInBand(asked: Asked, place: OraclePlace, band: Band, column: Column, register: Register): Amount {
  const { from } = asked.span;
  const to = seenUntil(asked.span);
  const parts: Amount[] = [];
  let since: number | undefined;
  for (let at = from; at <= to; at += minute) {
    const counts = at < to && bandAt(place, at) === band;
    if (since !== undefined && (!counts || at % hour === 0)) {
      parts.push(amountOf(column, since, at, register));
      since = undefined;
    }
    if (counts) since ??= at;
  }
  // Minutes in another band are no lack: what was read of the period covers this one too.
  const { covered, told } = amount(asked, column, register);
  return { ...sumOf(parts), covered, told };
}

function cost(asked: Asked, site: OracleSite, asks: readonly Band[]): OracleFigure {
  const parts = site.places.map((place): Part => {
    const meters = incoming(place, site.level, "electricity");
    const due = elapsed(asked) * meters.length;
    const prices = place.file.tariff?.pricesCNYPerKWh;
    const ofBands = asks.map((band): Part => {
      if (meters.length === 0) return { lack: "no_meter", due };
      if (!prices) return { lack: "no_tariff", due };
      const part = counted(asked, meters, "no_meter", (column, register) =>
        inBand(asked, place, band, column, register),
      );
      const price = prices[band];
      if (part.lack === undefined && price === undefined && part.amount > 0n) return { lack: "no_tariff", due };
      return times(part, BigInt(Math.round((price ?? 0) * 1e4)));
    });
    const lack = ofBands.find((part) => part.lack !== undefined)?.lack;
    if (lack !== undefined) return { lack, due };
    const sum = together(ofBands) as Sum;
    return { ...sum, due, covered: sum.covered / asks.length };
  });
  return figure(together(parts), 10);
}

/** Greatest mean power of a quarter hour that has passed, through the incoming meters of a factory together. */
function demand(asked: Asked, site: OracleSite): OracleFigure {
  const [place] = site.places as [OraclePlace];
  const meters = incoming(place, site.level, "electricity");
  if (meters.length === 0) return nothing("no_meter", null);
  const energy = through(asked, place, site.level, "electricity");
  const { from, to, asOf } = asked.span;
  const quarter = 15 * minute;
  let best: Amount | undefined;
  let partial = false;
  for (let at = Math.ceil(from / quarter) * quarter; at + quarter <= Math.min(to, asOf); at += quarter) {
    const told = meters.flatMap((device) => {
      const column = registerColumn(asked, device);
      const own = column && amountOf(column, at, at + quarter, device.register);
      return own?.told ? [own] : [];
    });
    const sum = sumOf(told);
    partial ||= told.length < meters.length || sum.untold > 0;
    if (told.length > 0 && (!best || sum.amount > best.amount)) best = sum;
  }
  if (!best || energy.lack !== undefined) return nothing("no_data", 0);
  const estimatedShare = ratio(best.estimated, best.amount);
  return { ...figure({ ...energy, amount: best.amount * 4n, partial }, 6), estimatedShare };
}

/** What comes in and no feeder counts, over what comes in, of the factories that know both. */
function balance(asked: Asked, site: OracleSite): OracleFigure {
  const both: { supply: Sum; feeders: Sum }[] = [];
  const lacks: string[] = [];
  let missed = 0;
  for (const place of site.places) {
    const meters = incoming(place, site.level, "electricity");
    const supply = counted(asked, meters, "no_meter");
    const behind = place.devices.filter(
      (device) =>
        isMeter(device, "electricity") &&
        device.registered.meteringPoint === "feeder" &&
        (device.parent === undefined || meters.some(({ key }) => key === device.parent)),
    );
    const feeders = counted(asked, behind, "no_feeder");
    if (supply.lack === undefined && feeders.lack === undefined) {
      both.push({ supply, feeders });
      continue;
    }
    const own = [supply.lack, feeders.lack].filter((lack) => lack !== undefined);
    const lasting = own.find((lack) => lack !== "no_data");
    lacks.push(lasting ?? "no_data");
    if (lasting === undefined) missed += 1;
  }
  const covered = both.reduce((ms, { supply, feeders }) => ms + lesser(asked, supply, feeders), 0);
  const places = both.length + missed;
  const completeness = places > 0 ? ratio(BigInt(covered), BigInt(elapsed(asked)) * BigInt(places)) : null;
  const terms = { both, lacks };
  if (both.length === 0) return nothing(nearest(lacks) ?? "no_meter", completeness, terms);
  const sum = (side: "supply" | "feeders", of: "amount" | "estimated") =>
    both.reduce((all, b) => all + b[side][of], 0n);
  const [supply, feeders] = [sum("supply", "amount"), sum("feeders", "amount")];
  if (supply === 0n) return nothing("no_energy", completeness, terms);
  return {
    value: rounded(supply - feeders, supply, 6),
    reason: null,
    completeness,
    estimatedShare: Math.max(ratio(sum("supply", "estimated"), supply), ratio(sum("feeders", "estimated"), feeders)),
    lowerBound: missed > 0 || both.some((b) => b.supply.partial || b.feeders.partial),
    terms,
  };
}

/** Time that the less complete of two terms covers, each on average over its counters. */
export function lesser(asked: Asked, ...terms: Sum[]): number {
  return Math.min(...terms.map(({ covered, due }) => Math.floor((covered * elapsed(asked)) / due)));
}

/** Every figure of energy of a site, but for that of a piece. */
export function energyOf(asked: Asked, site: OracleSite, period: string): [string, OracleFigure][] {
  const { level, places } = site;
  const all = (carrier: Carrier) => together(places.map((place) => through(asked, place, level, carrier)));
  const found: [string, OracleFigure][] = [
    ["energy.electricity", figure(all("electricity"), 6)],
    ["energy.comprehensive", figure(together(places.map((place) => comprehensive(asked, place, level))), 11)],
    ["carbon.electricity", figure(times(all("electricity"), carbon[asked.region]), 10)],
  ];
  if (period === "minute" || period === "quarter_hour") return found;
  for (const carrier of carriers.filter((one) => one !== "electricity"))
    found.push([`energy.${carrier}`, figure(all(carrier), 6)]);
  if (level === "factory" && period !== "shift") found.push(["energy.demand_max", demand(asked, site)]);
  if (level === "line") return found;
  found.push(["energy.balance", balance(asked, site)], ["cost.electricity", cost(asked, site, bands)]);
  for (const band of bands) found.push([`cost.electricity_${band}`, cost(asked, site, [band])]);
  return found;
}
