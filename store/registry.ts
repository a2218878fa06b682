import { createHash } from "node:crypto";
import type { Calendar } from "@jilian/domain/calendar.ts";
import { type Checked, checkConfig, duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import { creditCodeCheck, idPattern, isCreditCode } from "@jilian/domain/identity.ts";
import { type GridRegion, gridRegions } from "@jilian/domain/indicators/factors.ts";
import type { MachinePlan } from "@jilian/domain/machine-sums.ts";
import { carriers } from "@jilian/domain/roles.ts";
import { type Static, Type } from "typebox";
import { calendarSchema, checkCalendar, checkMachineFields, machineFields, planOf } from "./registry-machines.ts";

const strict = { additionalProperties: false } as const;
const id = Type.String({
  pattern: idPattern,
  description: "lower-case id, used in topics and addresses; never change it later",
});
const name = Type.String({ minLength: 1, maxLength: 100, description: "name shown to people" });

const deviceSchema = Type.Object(
  {
    id,
    name,
    kind: Type.Union([Type.Literal("machine"), Type.Literal("meter"), Type.Literal("other")]),
    /** Where a meter sits. Only incoming meters count toward the factory's energy; feeders are inside it. */
    meteringPoint: Type.Optional(Type.Union([Type.Literal("incoming"), Type.Literal("feeder")])),
    carrier: Type.Optional(Type.Union(carriers.map((c) => Type.Literal(c)))),
    ratedPowerKW: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        description: "largest power through a meter; bounds what a counter may rise",
      }),
    ),
    ...machineFields,
  },
  strict,
);
const gatewaySchema = Type.Object(
  {
    id,
    name: Type.Optional(name),
    uplink: Type.Optional(Type.String({ maxLength: 60, description: "5G CPE, fibre, ..." })),
    devices: Type.Array(deviceSchema, { minItems: 1, description: "devices read by this gateway" }),
  },
  strict,
);
const factorySchema = Type.Object(
  {
    id,
    name,
    address: Type.Optional(Type.String({ maxLength: 200 })),
    /** Planned busy time of its machines, unless they have their own. */
    calendar: Type.Optional(calendarSchema),
    gateways: Type.Array(gatewaySchema, { minItems: 1 }),
  },
  strict,
);
const enterpriseSchema = Type.Object(
  {
    id,
    name,
    creditCode: Type.String({
      description: "unified social credit code, 18 characters with check character, GB 32100-2015",
    }),
    industry: Type.Optional(Type.String({ maxLength: 60 })),
    factories: Type.Array(factorySchema, { minItems: 1 }),
  },
  strict,
);

/** `cluster.yaml`: who takes part in a pilot, and with which machines. Declared, checked as a whole, versioned by its content. */
export const registrySchema = Type.Object(
  {
    cluster: Type.Object(
      {
        id,
        name,
        industry: Type.Optional(Type.String({ maxLength: 60 })),
        /** Whose average carbon factor its electricity has; the national one without. */
        gridRegion: Type.Optional(
          Type.Unsafe<GridRegion>(Type.Union(gridRegions.map((region) => Type.Literal(region)))),
        ),
      },
      strict,
    ),
    pilot: Type.Object(
      {
        id,
        name,
        demo: Type.Boolean({
          description: "true only for demonstrations: simulated data counts, and every figure says so",
        }),
      },
      strict,
    ),
    enterprises: Type.Array(enterpriseSchema, { minItems: 1 }),
  },
  strict,
);

export type RegistryFile = Static<typeof registrySchema>;
export type RegistryDevice = Static<typeof deviceSchema>;

/** A device with everything above it. */
export type PlacedDevice = {
  readonly device: RegistryDevice;
  readonly enterpriseId: string;
  /** Also the Sparkplug group. */
  readonly factoryId: string;
  /** Also the Sparkplug edge node. */
  readonly gatewayId: string;
  /** Planned busy time: its own or its factory's; absent where neither has one. */
  readonly calendar?: Calendar;
};

export type PlacedFactory = { readonly id: string; readonly name: string; readonly enterpriseId: string };

/** The registry as the services use it. */
export type Registry = {
  readonly file: RegistryFile;
  /** First 12 hexadecimal digits of the SHA-256 of the checked content: named by every figure. */
  readonly version: string;
  readonly demo: boolean;
  /** Whose carbon factor the cluster's electricity has. */
  readonly gridRegion: GridRegion;
  /** By `factory/gateway/device`. */
  readonly devices: ReadonlyMap<string, PlacedDevice>;
  readonly factories: ReadonlyMap<string, PlacedFactory>;
  /** `factory/gateway` of every registered gateway. */
  readonly gateways: ReadonlySet<string>;
};

function checkEnterprise(enterprise: RegistryFile["enterprises"][number], path: string): SemanticFault[] {
  const faults: SemanticFault[] = [];
  if (!isCreditCode(enterprise.creditCode)) {
    const wanted = creditCodeCheck(enterprise.creditCode.slice(0, 17));
    faults.push({
      path: `${path}/creditCode`,
      expected: wanted ? `check character ${wanted} after these 17` : "18 of 0-9 A-H J-N P-R T U W X Y",
      remedy: "copy the code from the business licence again",
    });
  }
  for (const [f, factory] of enterprise.factories.entries()) {
    const at = `${path}/factories/${f}/gateways`;
    if (factory.calendar) faults.push(...checkCalendar(factory.calendar, `${path}/factories/${f}/calendar`));
    faults.push(
      ...duplicates(
        at,
        factory.gateways.map((g) => g.id),
        "gateway id of this factory",
      ),
    );
    for (const [g, gateway] of factory.gateways.entries()) {
      faults.push(
        ...duplicates(
          `${at}/${g}/devices`,
          gateway.devices.map((d) => d.id),
          "device id of this gateway",
        ),
      );
      for (const [d, device] of gateway.devices.entries())
        faults.push(...checkDevice(device, `${at}/${g}/devices/${d}`));
    }
  }
  return faults;
}

function checkDevice(device: RegistryDevice, path: string): SemanticFault[] {
  const faults = checkMachineFields(device, device.kind, path);
  if (device.kind === "meter" && !device.meteringPoint) {
    const expected = '"incoming" or "feeder"';
    faults.push({ path: `${path}/meteringPoint`, expected, remedy: "say where this meter sits" });
  }
  if (device.kind !== "meter" && device.meteringPoint) {
    const expected = "nothing: only meters have one";
    faults.push({ path: `${path}/meteringPoint`, expected, remedy: 'remove it or set "kind: meter"' });
  }
  return faults;
}

function checkRegistry(file: RegistryFile): SemanticFault[] {
  const factories = file.enterprises.flatMap((e, i) =>
    e.factories.map((f, j) => ({ id: f.id, path: `/enterprises/${i}/factories/${j}/id` })),
  );
  const seen = new Map<string, string>();
  const repeated: SemanticFault[] = [];
  for (const { id: factory, path } of factories) {
    const first = seen.get(factory);
    if (first)
      repeated.push({
        path,
        expected: `a factory id used once in the cluster (already at ${first})`,
        remedy: "give each its own",
      });
    else seen.set(factory, path);
  }
  return [
    ...duplicates(
      "/enterprises",
      file.enterprises.map((e) => e.id),
      "enterprise id",
    ),
    ...duplicates(
      "/enterprises",
      file.enterprises.map((e) => e.creditCode),
      "credit code",
      "creditCode",
    ),
    ...repeated,
    ...file.enterprises.flatMap((e, i) => checkEnterprise(e, `/enterprises/${i}`)),
  ];
}

/** Indexes a checked registry file. Pure. */
export function indexRegistry(file: RegistryFile): Registry {
  const devices = new Map<string, PlacedDevice>();
  const factories = new Map<string, PlacedFactory>();
  const gateways = new Set<string>();
  for (const enterprise of file.enterprises) {
    for (const factory of enterprise.factories) {
      factories.set(factory.id, { id: factory.id, name: factory.name, enterpriseId: enterprise.id });
      for (const gateway of factory.gateways) {
        gateways.add(`${factory.id}/${gateway.id}`);
        for (const device of gateway.devices) {
          const place = { device, enterpriseId: enterprise.id, factoryId: factory.id, gatewayId: gateway.id };
          const calendar = device.calendar ?? factory.calendar;
          devices.set(`${factory.id}/${gateway.id}/${device.id}`, calendar ? { ...place, calendar } : place);
        }
      }
    }
  }
  const version = createHash("sha256").update(JSON.stringify(file)).digest("hex").slice(0, 12);
  const gridRegion = file.cluster.gridRegion ?? "national";
  return { file, version, demo: file.pilot.demo, gridRegion, devices, factories, gateways };
}

/** What the ratio figures of a machine need of the registry. */
export function machinePlan({ device, calendar }: PlacedDevice): MachinePlan {
  return planOf(device, calendar);
}

/** Checks the text of `cluster.yaml` as a whole and indexes it. Pure; all faults at once. */
export function readRegistry(text: string, fileName: string): Checked<Registry> {
  const checked = checkConfig(registrySchema, text, fileName, checkRegistry);
  return checked.ok ? { ok: true, value: indexRegistry(checked.value) } : checked;
}
