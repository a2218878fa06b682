import { type GridRegion, gridRegions } from "@jilian/domain/indicators/factors.ts";
import { type Static, Type } from "typebox";
import { alarmSchema } from "./registry-alarms.ts";
import { calendarSchema, machineFields } from "./registry-machines.ts";
import { meterFields } from "./registry-meters.ts";
import {
  dateSchema,
  idSchema,
  nameSchema,
  productIdSchema,
  runTimeSchema,
  strict,
  wordsSchema,
} from "./registry-parts.ts";
import { tariffSchema } from "./registry-tariff.ts";

const literals = <T extends string>(values: readonly T[], description?: string) =>
  Type.Unsafe<T>(
    Type.Union(
      values.map((value) => Type.Literal(value)),
      description ? { description } : {},
    ),
  );

const deviceSchema = Type.Object(
  {
    id: idSchema,
    name: nameSchema,
    kind: Type.Union([Type.Literal("machine"), Type.Literal("meter"), Type.Literal("other")]),
    /** Where a meter sits. Only incoming meters count toward the factory's energy; feeders are inside it. */
    meteringPoint: Type.Optional(Type.Union([Type.Literal("incoming"), Type.Literal("feeder")])),
    /** Id of a line of its factory. */
    line: Type.Optional(idSchema),
    /** True for a machine of a key process (关键工序). */
    keyProcess: Type.Optional(Type.Boolean()),
    /** Whether it is a production device (生产设备), which networking rates count; if absent, machines are. */
    production: Type.Optional(Type.Boolean()),
    ...meterFields,
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

const uplinkKinds = ["industrial_5g_cpe", "5g_module", "4g", "fibre", "ethernet", "wifi", "other"] as const;
const gatewaySchema = Type.Object(
  {
    id: idSchema,
    name: Type.Optional(nameSchema),
    /** The box on the wall, as its label says. */
    box: Type.Optional(Type.Object({ model: Type.Optional(wordsSchema), serial: Type.Optional(wordsSchema) }, strict)),
    /** How it reaches the platform (notice of 2020: industrial CPE, network slice, MEC server); free words, or told apart by kind. */
    uplink: Type.Optional(
      Type.Union([
        Type.String({ maxLength: 60, description: "5G CPE, fibre, ..." }),
        Type.Object(
          {
            kind: literals(uplinkKinds),
            slice: Type.Optional(wordsSchema),
            mec: Type.Optional(wordsSchema),
          },
          { ...strict, description: `or kind (${uplinkKinds.join(", ")}), slice, mec` },
        ),
      ]),
    ),
    devices: Type.Array(deviceSchema, { minItems: 1, description: "devices read by this gateway" }),
  },
  strict,
);

const factorySchema = Type.Object(
  {
    id: idSchema,
    name: nameSchema,
    address: Type.Optional(Type.String({ maxLength: 200 })),
    /** Within the country, so that a swapped pair is noticed. */
    coordinates: Type.Optional(
      Type.Object(
        {
          longitude: Type.Number({ minimum: 73, maximum: 136, description: "degrees east, CGCS2000" }),
          latitude: Type.Number({ minimum: 3, maximum: 54, description: "degrees north, CGCS2000" }),
        },
        strict,
      ),
    ),
    /** Planned busy time of its machines, unless they have their own; its shifts make the shift figures. */
    calendar: Type.Optional(calendarSchema),
    tariff: Type.Optional(tariffSchema),
    /** Factors to standard coal of what has none of its own: gas by its measured lower heating value, steam by its enthalpy (GB/T 2589-2020). */
    standardCoalFactors: Type.Optional(
      Type.Object(
        {
          gas: Type.Optional(Type.Number({ minimum: 0.3, maximum: 2, description: "kgce/m3, mostly 1.1 to 1.33" })),
          steam: Type.Optional(Type.Number({ minimum: 10, maximum: 200, description: "kgce/t" })),
        },
        strict,
      ),
    ),
    lines: Type.Optional(Type.Array(Type.Object({ id: idSchema, name: nameSchema }, strict), { maxItems: 200 })),
    gateways: Type.Array(gatewaySchema, { minItems: 1 }),
  },
  strict,
);

const enterpriseSchema = Type.Object(
  {
    id: idSchema,
    name: nameSchema,
    creditCode: Type.String({
      description: "unified social credit code, 18 characters with check character, GB 32100-2015",
    }),
    industry: Type.Optional(Type.String({ maxLength: 60 })),
    industryCode: Type.Optional(
      Type.String({ pattern: "^[A-T]?[0-9]{2,4}$", description: "GB/T 4754-2017: 3252, C3252; in quotes" }),
    ),
    region: Type.Optional(wordsSchema),
    /** Place in the chain of the industry (产业链环节). */
    chainStage: Type.Optional(wordsSchema),
    /** 统计上大中小微型企业划分办法. */
    sizeClass: Type.Optional(literals(["large", "medium", "small", "micro"])),
    /** Key link of the chain (关键环节企业). */
    keyLink: Type.Optional(Type.Boolean()),
    /** Level of digitalisation as an evaluator found it on a date (数字化水平). */
    digitalLevel: Type.Optional(
      Type.Object(
        {
          level: Type.String({ minLength: 1, maxLength: 20, description: "L1 to L10, 二级, ..." }),
          evaluator: nameSchema,
          date: dateSchema,
        },
        strict,
      ),
    ),
    factories: Type.Array(factorySchema, { minItems: 1 }),
  },
  strict,
);

const share = (description: string) => Type.Optional(Type.Number({ minimum: 0, maximum: 1, description }));
const days = (description: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: 366, description }));

/** Thresholds that a pilot has agreed; where one is absent, `defaultThresholds` holds. */
const thresholdsSchema = Type.Object(
  {
    collectionRate: share("least share of collected readings on a day that counts as effective"),
    effectiveDays: days("days that must be effective, of windowDays"),
    windowDays: days("days that are looked back on"),
    completeness: share("least completeness of a figure that counts as complete"),
    meterBalance: share("largest deviation of the feeders' sum from the incoming meter"),
  },
  strict,
);

const pilotSchema = Type.Object(
  {
    id: idSchema,
    name: nameSchema,
    demo: Type.Boolean({
      description: "true only for demonstrations: simulated data counts, and every figure says so",
    }),
    /** The periods that the pilot is judged by, both dates inclusive, in order and apart. */
    periods: Type.Optional(
      Type.Array(
        Type.Object({ id: idSchema, name: Type.Optional(nameSchema), from: dateSchema, until: dateSchema }, strict),
        { maxItems: 50 },
      ),
    ),
    thresholds: Type.Optional(thresholdsSchema),
  },
  strict,
);

const productSchema = Type.Object(
  {
    id: productIdSchema,
    name: nameSchema,
    /** What is counted: pcs, t, m. */
    unit: Type.String({ minLength: 1, maxLength: 20 }),
    /** Planned run time per item (ISO 22400-2 PRI), for machines that have none of their own. */
    plannedRunTimePerItemMs: Type.Optional(runTimeSchema),
  },
  strict,
);

/** `cluster.yaml`: who takes part in a pilot, and with which machines. Declared, checked as a whole, versioned by its content. */
export const registrySchema = Type.Object(
  {
    cluster: Type.Object(
      {
        id: idSchema,
        name: nameSchema,
        industry: Type.Optional(Type.String({ maxLength: 60 })),
        /** Whose average carbon factor its electricity has; the national one without. */
        gridRegion: Type.Optional(literals<GridRegion>(gridRegions)),
      },
      strict,
    ),
    pilot: pilotSchema,
    products: Type.Optional(Type.Array(productSchema, { maxItems: 1000 })),
    /** Alarm rules: what is watched, and when someone has to act. */
    alarms: Type.Optional(Type.Array(alarmSchema, { maxItems: 500 })),
    enterprises: Type.Array(enterpriseSchema, { minItems: 1 }),
  },
  strict,
);

export type RegistryFile = Static<typeof registrySchema>;
export type RegistryEnterprise = Static<typeof enterpriseSchema>;
export type RegistryFactory = Static<typeof factorySchema>;
export type RegistryDevice = Static<typeof deviceSchema>;
export type Thresholds = Required<Static<typeof thresholdsSchema>>;

/** KPI definitions: effective on a day at 90 % collected readings, 20 of 30 days; complete at 90 %. */
export const defaultThresholds: Thresholds = {
  collectionRate: 0.9,
  effectiveDays: 20,
  windowDays: 30,
  completeness: 0.9,
  meterBalance: 0.05,
};
