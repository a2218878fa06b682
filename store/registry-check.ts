import { dateNumber } from "@jilian/domain/calendar.ts";
import { duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import { creditCodeCheck, deviceKey, isCreditCode } from "@jilian/domain/identity.ts";
import { checkAlarms } from "./registry-alarms.ts";
import { checkCalendar, checkMachineFields } from "./registry-machines.ts";
import { checkMeterFields, checkParents } from "./registry-meters.ts";
import { orderedDates } from "./registry-parts.ts";
import type { RegistryDevice, RegistryEnterprise, RegistryFactory, RegistryFile } from "./registry-schema.ts";
import { checkTariff } from "./registry-tariff.ts";

/** Ids that a device may refer to. */
type Known = { lines: ReadonlySet<string>; products: ReadonlySet<string> };

function checkReferences(device: RegistryDevice, path: string, { lines, products }: Known): SemanticFault[] {
  const faults: SemanticFault[] = [];
  const listed = (ids: ReadonlySet<string>) => (ids.size === 0 ? "" : `: ${[...ids].slice(0, 20).join(", ")}`);
  if (device.line !== undefined && !lines.has(device.line)) {
    const expected = `a line of this factory${listed(lines)}`;
    faults.push({ path: `${path}/line`, expected, remedy: 'correct the id, or add it to "lines" of the factory' });
  }
  for (const [i, product] of (device.products ?? []).entries())
    if (!products.has(product)) {
      const expected = `a product of this registry${listed(products)}`;
      faults.push({ path: `${path}/products/${i}`, expected, remedy: 'correct the id, or add it to "products"' });
    }
  return faults;
}

function checkDevice(device: RegistryDevice, path: string, known: Known): SemanticFault[] {
  const { kind } = device;
  const faults = [...checkMachineFields(device, kind, path), ...checkMeterFields(device, kind, path)];
  if (kind === "meter" && !device.meteringPoint) {
    const expected = '"incoming" or "feeder"';
    faults.push({ path: `${path}/meteringPoint`, expected, remedy: "say where this meter sits" });
  }
  const misplaced = kind === "meter" ? (["keyProcess", "production"] as const) : (["meteringPoint"] as const);
  for (const key of misplaced)
    if (device[key]) {
      const others = kind === "meter" ? "other devices have" : "meters have one";
      const remedy = kind === "meter" ? "remove it" : 'remove it or set "kind: meter"';
      faults.push({ path: `${path}/${key}`, expected: `nothing: only ${others}`, remedy });
    }
  return [...faults, ...checkReferences(device, path, known)];
}

const idsOf = (entries: readonly { id: string }[]) => entries.map(({ id }) => id);

function checkFactory(factory: RegistryFactory, path: string, products: ReadonlySet<string>): SemanticFault[] {
  const { calendar, tariff, lines = [], gateways } = factory;
  const known = { lines: new Set(idsOf(lines)), products };
  return [
    ...(calendar ? checkCalendar(calendar, `${path}/calendar`) : []),
    ...(tariff ? checkTariff(tariff, `${path}/tariff`) : []),
    ...duplicates(`${path}/lines`, idsOf(lines), "line id of this factory"),
    ...duplicates(`${path}/gateways`, idsOf(gateways), "gateway id of this factory"),
    ...gateways.flatMap(({ devices }, g) => {
      const at = `${path}/gateways/${g}/devices`;
      return [
        ...duplicates(at, idsOf(devices), "device id of this gateway"),
        ...devices.flatMap((device, d) => checkDevice(device, `${at}/${d}`, known)),
      ];
    }),
    ...checkParents(gateways, path),
  ];
}

function checkEnterprise(enterprise: RegistryEnterprise, path: string, products: ReadonlySet<string>): SemanticFault[] {
  const faults: SemanticFault[] = [];
  if (!isCreditCode(enterprise.creditCode)) {
    const wanted = creditCodeCheck(enterprise.creditCode.slice(0, 17));
    faults.push({
      path: `${path}/creditCode`,
      expected: wanted ? `check character ${wanted} after these 17` : "18 of 0-9 A-H J-N P-R T U W X Y",
      remedy: "copy the code from the business licence again",
    });
  }
  const { digitalLevel } = enterprise;
  if (digitalLevel) faults.push(...orderedDates(`${path}/digitalLevel`, { date: digitalLevel.date }));
  return [
    ...faults,
    ...enterprise.factories.flatMap((factory, f) => checkFactory(factory, `${path}/factories/${f}`, products)),
  ];
}

/** Periods and thresholds of the pilot: dates that exist, in order, apart. */
function checkPilot({ periods = [], thresholds }: RegistryFile["pilot"]): SemanticFault[] {
  const faults = duplicates("/pilot/periods", idsOf(periods), "period id of this pilot");
  let lastDay = Number.NEGATIVE_INFINITY;
  for (const [i, { from, until }] of periods.entries()) {
    const path = `/pilot/periods/${i}`;
    faults.push(...orderedDates(path, { from }, { until }));
    const [first, last] = [dateNumber(from), dateNumber(until)];
    if (first === undefined || last === undefined) continue;
    if (first <= lastDay) {
      const expected = "a date after the end of the period before";
      faults.push({ path: `${path}/from`, expected, remedy: "put the periods in the order of time, without overlap" });
    }
    lastDay = Math.max(lastDay, last);
  }
  const { effectiveDays, windowDays } = thresholds ?? {};
  if (effectiveDays !== undefined && effectiveDays > (windowDays ?? 30)) {
    const expected = `at most windowDays, ${windowDays ?? 30}`;
    faults.push({ path: "/pilot/thresholds/effectiveDays", expected, remedy: "correct one of the two" });
  }
  return faults;
}

/** Factory ids are Sparkplug groups, and so unique over all enterprises. */
function repeatedFactories({ enterprises }: RegistryFile): SemanticFault[] {
  const seen = new Map<string, string>();
  const faults: SemanticFault[] = [];
  for (const [e, { factories }] of enterprises.entries())
    for (const [f, { id }] of factories.entries()) {
      const path = `/enterprises/${e}/factories/${f}/id`;
      const first = seen.get(id);
      const expected = `a factory id used once in the cluster (already at ${first})`;
      if (first) faults.push({ path, expected, remedy: "give each its own" });
      else seen.set(id, path);
    }
  return faults;
}

/** What alarm rules may refer to. */
function alarmTargets({ enterprises }: RegistryFile) {
  const factories = enterprises.flatMap((enterprise) => enterprise.factories);
  const devices = factories.flatMap(({ id, gateways }) =>
    gateways.flatMap((gateway) => gateway.devices.map((device) => deviceKey(id, gateway.id, device.id))),
  );
  return { factories: new Set(idsOf(factories)), devices: new Set(devices) };
}

/** What the schema of the registry cannot say. Pure; all faults at once. */
export function checkRegistry(file: RegistryFile): SemanticFault[] {
  const { enterprises, products = [] } = file;
  const ids = new Set(idsOf(products));
  const codes = enterprises.map(({ creditCode }) => creditCode);
  return [
    ...checkPilot(file.pilot),
    ...duplicates("/products", idsOf(products), "product id"),
    ...duplicates("/enterprises", idsOf(enterprises), "enterprise id"),
    ...duplicates("/enterprises", codes, "credit code", "creditCode"),
    ...repeatedFactories(file),
    ...checkAlarms(file.alarms ?? [], alarmTargets(file)),
    ...enterprises.flatMap((enterprise, i) => checkEnterprise(enterprise, `/enterprises/${i}`, ids)),
  ];
}
