import { Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import type { Directory } from "../directory.ts";
import { demoNotice, noticeSchema } from "../figures.ts";
import { checkEntity } from "../lookup.ts";
import { idParameter, strict } from "../parameters.ts";
import { problemSchema } from "../problems.ts";
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

/** Who takes part and with which machines, with what is known of each right now. */
export function addRegistryRoutes(app: App, { registry, live, ledger, clock }: ApiDeps, directory: Directory): void {
  const input = (): ViewInput => ({ registry, live, firstBirths: ledger.firstBirths(), nowMs: clock.now() });
  const notice = registry.demo ? demoNotice : null;

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
    async () => ({ notice, enterprises: viewEnterprises(input()) }),
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
      return { notice, factories: found };
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
      const others = ledger.unregistered().filter((d) => factory === undefined || d.group === factory);
      return { notice, devices: found, unregistered: viewUnregistered(state === undefined ? others : []) };
    },
  );
}
