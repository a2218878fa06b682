/** The oracle, fifth part: counts of devices, what gateways account for, and the capability of a metric. */
import type { Column, Queued } from "./book.ts";
import type { Asked } from "./oracle-energy.ts";
import { elapsed } from "./oracle-energy.ts";
import { nearest, nothing, type OracleFigure, seenUntil } from "./oracle-machines.ts";
import { decimal, type Gauged, gaugedIn, hour, onlineIn, ratio, rounded } from "./oracle-readings.ts";
import type { OracleDevice, OracleSite } from "./oracle-sites.ts";

export type DeviceAsked = Asked & {
  births: ReadonlyMap<string, number>;
  /** Accounts by device and hour; those that were never sent are not among them. */
  accounts: ReadonlyMap<string, ReadonlyMap<number, Queued>>;
};

type Thresholds = { collectionRate: number; effectiveDays: number; windowDays: number };
const agreed: Thresholds = { collectionRate: 0.9, effectiveDays: 20, windowDays: 30 };
const day = 24 * hour;

const count = (n: number): OracleFigure => ({ ...nothing("", null), value: String(n), reason: null });

function share(numerator: bigint, denominator: bigint, otherwise: string, completeness: number | null): OracleFigure {
  if (denominator === 0n) return nothing(otherwise, completeness);
  return { ...nothing("", completeness), value: rounded(numerator, denominator, 6), reason: null };
}

export function onlineOf(asked: DeviceAsked, { key }: OracleDevice): number {
  const columns = asked.columns(key).filter((column) => column.length > 0);
  const { from, to, asOf } = asked.span;
  // What has not passed yet is not online, however long a reading holds.
  const until = Math.min(to, asOf);
  const found = asked.online.get(key) ?? (columns.length > 0 ? onlineIn(columns, from, until) : 0);
  asked.online.set(key, found);
  return found;
}

/** The accounts of the hours that begin in [from, to), together; undefined without any. */
function accountOf(
  asked: DeviceAsked,
  key: string,
  from: number,
  to: number,
): (Queued & { missing: number }) | undefined {
  const hours = [...(asked.accounts.get(key) ?? [])].filter(([at]) => at >= from && at < to).map(([, own]) => own);
  if (hours.length === 0) return undefined;
  const sum = (of: (own: Queued) => number) => hours.reduce((n, own) => n + of(own), 0);
  return {
    polls: sum((own) => own.polls),
    queued: sum((own) => own.queued),
    bad: sum((own) => own.bad),
    kept: sum((own) => own.kept),
    missing: sum((own) => Math.max(0, own.queued - own.kept)),
  };
}

/** Good polls in millionths: the polls times the share of their readings that are neither bad nor missing. */
function goodPolls({ polls, queued, bad, missing }: Queued & { missing: number }): bigint {
  if (queued === 0) return 0n;
  return (BigInt(polls) * BigInt(Math.max(0, queued - bad - missing)) * 1_000_000n) / BigInt(queued);
}

function isCollected(own: (Queued & { missing: number }) | undefined, { collectionRate }: Thresholds): boolean {
  if (!own || own.polls === 0) return false;
  return goodPolls(own) * 10_000n >= BigInt(own.polls) * BigInt(Math.round(collectionRate * 10_000)) * 1_000_000n;
}

/** 90 % collected on 20 of 30 days; in fewer days on as large a share of them; in a day or less in the period itself. */
function isEffective(asked: DeviceAsked, { key }: OracleDevice, thresholds: Thresholds): boolean {
  const { from, to, asOf } = asked.span;
  const until = Math.min(to, asOf);
  if (to - from <= day) return isCollected(accountOf(asked, key, from, until), thresholds);
  const { effectiveDays, windowDays } = thresholds;
  const looked = Math.min(windowDays, Math.ceil(elapsed(asked) / day));
  const needed = Math.ceil((looked * effectiveDays) / windowDays);
  const last = Math.floor((until - 1 + 8 * hour) / day) * day - 8 * hour;
  let found = 0;
  for (let at = Math.max(from, last - (windowDays - 1) * day); at <= last; at += day)
    if (isCollected(accountOf(asked, key, at, at + day), thresholds)) found += 1;
  return found >= needed;
}

/** The root of a fraction as a decimal, half up. */
function root(numerator: bigint, denominator: bigint, places: number): string {
  const square = (numerator * 4n * 100n ** BigInt(places)) / denominator;
  let [low, high] = [0n, 1n];
  while (high * high <= square) high *= 2n;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (middle * middle <= square) low = middle;
    else high = middle;
  }
  return decimal((low + 1n) / 2n, places);
}

function gauged({ gauges, span }: DeviceAsked, column: Column): Gauged {
  const found = gauges.get(column) ?? gaugedIn(column, span.from, seenUntil(span));
  gauges.set(column, found);
  return found;
}

/** Sign and square of a capability, or why there is none. */
type Capability = { sign: bigint; numerator: bigint; denominator: bigint };

/** The lowest of the machines that name a metric with limits. */
function capability(asked: DeviceAsked, site: OracleSite, of: "cp" | "cpk"): OracleFigure {
  const watched = site.places.flatMap(({ devices }) => devices.filter(({ registered }) => registered.capability));
  if (watched.length === 0) return nothing("no_limits", null);
  let covered = 0;
  const found = watched.map(({ key, registered }): Capability | string => {
    const { metric, lowerLimit, upperLimit } = registered.capability as {
      metric: string;
      lowerLimit?: number;
      upperLimit?: number;
    };
    const column = asked.columns(key).find((c) => c.metric.definition.name === metric && c.length > 0);
    const samples = column ? gauged(asked, column) : { count: 0, sum: 0n, squares: 0n, covered: 0 };
    covered += Math.min(samples.covered, Math.max(0, elapsed(asked) - asked.span.lost(key)));
    const n = BigInt(samples.count);
    if (n === 0n) return "no_data";
    if (n === 1n) return "too_few";
    const [lower, upper] = [lowerLimit, upperLimit].map((l) =>
      l === undefined ? undefined : BigInt(Math.round(l * 1e6)),
    );
    const spread = n * samples.squares - samples.sum * samples.sum;
    if (of === "cp") {
      if (lower === undefined || upper === undefined) return "no_limits";
      if (spread === 0n) return "no_spread";
      return { sign: 1n, numerator: (upper - lower) ** 2n * n * (n - 1n), denominator: 36n * spread };
    }
    if (spread === 0n) return "no_spread";
    const above = upper === undefined ? undefined : upper * n - samples.sum;
    const below = lower === undefined ? undefined : samples.sum - lower * n;
    const nearer = above === undefined || (below !== undefined && below < above) ? below : above;
    if (nearer === undefined) return "no_limits";
    return { sign: nearer < 0n ? -1n : 1n, numerator: nearer ** 2n * (n - 1n), denominator: 9n * n * spread };
  });
  const completeness = ratio(BigInt(covered), BigInt(elapsed(asked)) * BigInt(watched.length));
  const told = found.filter((one) => typeof one !== "string");
  if (told.length === 0) return nothing(nearest(found as string[]) ?? "no_data", completeness);
  const [least] = told.sort((a, b) => {
    const less = a.sign * a.numerator * b.denominator - b.sign * b.numerator * a.denominator;
    return less < 0n ? -1 : less > 0n ? 1 : 0;
  }) as [Capability];
  const text = root(least.numerator, least.denominator, 6);
  return { ...nothing("", completeness), value: least.sign < 0n && text !== "0" ? `-${text}` : text, reason: null };
}

/** Every figure of a site's devices as such. */
export function devicesOf(
  asked: DeviceAsked,
  site: OracleSite,
  period: string,
  thresholds: Partial<Thresholds> = {},
): [string, OracleFigure][] {
  const limits = { ...agreed, ...thresholds };
  const { from, to, asOf } = asked.span;
  const until = Math.min(to, asOf);
  const devices = site.places.flatMap((place) => place.devices);
  const live = (device: OracleDevice) => onlineOf(asked, device) > 0;
  const connected = site.places.filter((place) => place.devices.some(live));
  const born = devices.filter(({ key }) => (asked.births.get(key) ?? Number.POSITIVE_INFINITY) < until);
  const found: [string, OracleFigure][] = [
    ["devices.registered", count(devices.length)],
    ["devices.ever_connected", count(born.length)],
    ["devices.online", count(devices.filter(live).length)],
  ];
  if (site.level !== "factory" && site.level !== "line") {
    found.push(["factories.connected", count(connected.length)]);
    found.push(["enterprises.connected", count(new Set(connected.map(({ creditCode }) => creditCode)).size)]);
  }
  if (period === "minute" || period === "quarter_hour") return found;
  const production = devices.filter(({ registered: { production: own, kind } }) => own ?? kind === "machine");
  const long = elapsed(asked) >= limits.windowDays * day;
  const networked = production.filter((device) => (long ? isEffective(asked, device, limits) : live(device)));
  const online = devices.reduce((ms, device) => ms + Math.min(onlineOf(asked, device), elapsed(asked)), 0);
  const accounts = devices.flatMap(({ key }) => accountOf(asked, key, Math.ceil(from / hour) * hour, until) ?? []);
  const told = devices.length > 0 ? ratio(BigInt(accounts.length), BigInt(devices.length)) : null;
  const sum = (of: (own: (typeof accounts)[number]) => bigint) => accounts.reduce((n, own) => n + of(own), 0n);
  const polls = sum((own) => BigInt(own.polls) * 1_000_000n);
  const queued = sum((own) => BigInt(own.queued));
  found.push(
    ["devices.effective", count(devices.filter((device) => isEffective(asked, device, limits)).length)],
    ["devices.networking_rate", share(BigInt(networked.length), BigInt(production.length), "no_devices", null)],
    ["devices.online_rate", share(BigInt(online), BigInt(elapsed(asked)) * BigInt(devices.length), "no_devices", null)],
    ["data.collection_rate", share(sum(goodPolls), polls, "no_account", told)],
    ["data.completeness", share(queued - sum((own) => BigInt(own.missing)), queued, "no_account", told)],
    ["quality.cp", capability(asked, site, "cp")],
    ["quality.cpk", capability(asked, site, "cpk")],
  );
  return found;
}
