import { followVersions } from "@jilian/store/registry-versions.ts";
import { Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import type { Directory } from "../directory.ts";
import { demoNotice, noticeSchema } from "../figures.ts";
import { checkEntity } from "../lookup.ts";
import { idParameter, strict, timeParameter } from "../parameters.ts";
import { invalid, problemSchema } from "../problems.ts";
import {
  deviceSchema,
  enterpriseSchema,
  factorySchema,
  stateSchema,
  unregisteredSchema,
  type ViewInput,
  viewDevices,
  viewEnterprises,
  viewFactories,
  viewUnregistered,
} from "../registry-view.ts";
import { parseTime } from "../time-range.ts";
import { versionSchema, viewVersion } from "../version-view.ts";

/** Who takes part and with which machines, with what is known of each right now. */
export function addRegistryRoutes(app: App, { registry, live, ledger, clock }: ApiDeps, directory: Directory): void {
  const input = (): ViewInput => ({ registry, live, firstBirths: ledger.firstBirths(), nowMs: clock.now() });
  const notice = () => (registry.demo ? demoNotice : null);

  const enterprises = Type.Object({ notice: noticeSchema, enterprises: Type.Array(enterpriseSchema) });
  const noQuery = Type.Object({}, strict);
  app.get(
    "/enterprises",
    {
      schema: {
        operationId: "listEnterprises",
        tags: ["registry"],
        summary: "企业 · Enterprises with credit codes and counts of factories and devices",
        querystring: noQuery,
        response: { 200: enterprises, "4xx": problemSchema },
      },
      config: { problems: ["PARAMETER_INVALID"] },
    },
    async () => ({ notice: notice(), enterprises: viewEnterprises(input()) }),
  );

  const factories = Type.Object({ notice: noticeSchema, factories: Type.Array(factorySchema) });
  const factoryQuery = Type.Object({ enterprise: Type.Optional(idParameter) }, strict);
  app.get(
    "/factories",
    {
      schema: {
        operationId: "listFactories",
        tags: ["registry"],
        summary: "工厂 · Factories, whether connected, their gateways and counts of devices",
        querystring: factoryQuery,
        response: { 200: factories, "4xx": problemSchema },
      },
      config: { problems: ["PARAMETER_INVALID", "ENTITY_UNKNOWN"] },
    },
    async ({ query: { enterprise } }) => {
      checkEntity(directory, "enterprise", enterprise);
      const found = viewFactories(input()).filter((f) => enterprise === undefined || f.enterprise === enterprise);
      return { notice: notice(), factories: found };
    },
  );

  const devices = Type.Object({
    notice: noticeSchema,
    devices: Type.Array(deviceSchema),
    unregistered: Type.Array(unregisteredSchema, { description: "seen, but not in the registry: counted nowhere" }),
  });
  const deviceQuery = Type.Object({ factory: Type.Optional(idParameter), state: Type.Optional(stateSchema) }, strict);
  app.get(
    "/devices",
    {
      schema: {
        operationId: "listDevices",
        tags: ["registry"],
        summary: "设备 · Registered devices with state and reason; devices seen and not registered apart",
        querystring: deviceQuery,
        response: { 200: devices, "4xx": problemSchema },
      },
      config: { problems: ["PARAMETER_INVALID", "ENTITY_UNKNOWN"] },
    },
    async ({ query: { factory, state } }) => {
      checkEntity(directory, "factory", factory);
      const found = viewDevices(input()).filter(
        (d) => (factory === undefined || d.factory === factory) && (state === undefined || d.state === state),
      );
      const others = state === undefined ? viewUnregistered(ledger.unregistered(), input()) : [];
      const unregistered = others.filter((d) => factory === undefined || d.factory === factory);
      return { notice: notice(), devices: found, unregistered };
    },
  );

  addVersionRoute(app, { registry, ledger, clock });
}

/** The content of the registry at a moment: what the figures of that time are made of. */
function addVersionRoute(app: App, { registry, ledger, clock }: Pick<ApiDeps, "registry" | "ledger" | "clock">): void {
  const versions = followVersions(ledger);
  const schema = {
    operationId: "getRegistry",
    tags: ["registry"],
    summary: "登记册 · The registry as it was in force at a moment: now, or `asOf`",
    querystring: Type.Object({ asOf: Type.Optional(timeParameter) }, strict),
    response: {
      200: Type.Object({
        notice: noticeSchema,
        ...versionSchema.properties,
        registry: Type.Any({ description: "its checked content, as cluster.yaml holds it" }),
      }),
      "4xx": problemSchema,
    },
  };
  app.get("/registry", { schema, config: { problems: ["PARAMETER_INVALID"] } }, async ({ query: { asOf } }) => {
    const atMs = asOf === undefined ? clock.now() : parseTime(asOf);
    if (atMs === undefined)
      throw invalid([
        {
          parameter: "asOf",
          found: JSON.stringify(asOf),
          expected: "a time: ISO 8601 with offset, or milliseconds since 1970",
          remedy: "write 2026-11-22T08:00:00+08:00 (with + as %2B) or 1795305600000",
        },
      ]);
    const all = versions();
    return {
      notice: registry.demo ? demoNotice : null,
      ...viewVersion(all.versionAt(atMs), all),
      registry: all.at(atMs).file,
    };
  });
}
