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
    { schema: { querystring: noQuery, response: { 200: enterprises, "4xx": problemSchema } } },
    async () => ({ notice, enterprises: viewEnterprises(input()) }),
  );

  const factories = Type.Object({ notice: noticeSchema, factories: Type.Array(factorySchema) });
  const factoryQuery = Type.Object({ enterprise: Type.Optional(idParameter) }, strict);
  app.get(
    "/factories",
    { schema: { querystring: factoryQuery, response: { 200: factories, "4xx": problemSchema } } },
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
    { schema: { querystring: deviceQuery, response: { 200: devices, "4xx": problemSchema } } },
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
