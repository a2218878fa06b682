/** The control interface: what a simulator's owner can ask and break over HTTP, from any process. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { parseFaultSpec } from "./faults.ts";
import { parseOpcuaFaultSpec } from "./opcua-faults.ts";
import type { OpcuaServer } from "./opcua-server.ts";
import { toJson } from "./register-map.ts";
import type { ServedFilter } from "./served-log.ts";
import type { PlantHandle, Simulator } from "./simulator.ts";

export type Control = { readonly host: string; readonly port: number; close(): Promise<void> };

const MAX_BODY_BYTES = 64 * 1024;
const DEFAULT_LIMIT = 10_000;

type Reply = { readonly status: number; readonly body: unknown };
type Route = (simulator: Simulator, query: URLSearchParams, request: IncomingMessage) => Reply | Promise<Reply>;

/** A request that asks for what cannot be; its message goes to the asker. */
function refuse(status: number, message: string): Error & { status: number } {
  return Object.assign(new Error(message), { status });
}

const ok = (body: unknown): Reply => ({ status: 200, body });

function findPlant(simulator: Simulator, id: unknown): PlantHandle {
  const ids = simulator.plants.map((plant) => plant.id).join(", ");
  if (id === undefined || id === null) {
    const [only, another] = simulator.plants;
    if (only !== undefined && another === undefined) return only;
    throw refuse(400, `plant: missing, expected one of ${ids}`);
  }
  const plant = simulator.plants.find((candidate) => candidate.id === id);
  if (plant === undefined) throw refuse(400, `plant: found ${JSON.stringify(id)}, expected one of ${ids}`);
  return plant;
}

function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw refuse(400, `${name}: found ${JSON.stringify(text)}, expected a whole number`);
  return Number(text);
}

type Protocol = "modbus" | "opcua";

/** The protocol asked for, which the plant must have; without a word the only one, or Modbus of both. */
function protocolOf(plant: PlantHandle, asked: unknown): Protocol {
  const has: readonly Protocol[] = [
    ...(plant.port === null ? [] : (["modbus"] as const)),
    ...(plant.opcua === undefined ? [] : (["opcua"] as const)),
  ];
  const found = has.find((protocol) => protocol === (asked ?? has[0]));
  if (found === undefined)
    throw refuse(400, `protocol: found ${JSON.stringify(asked)}, expected one of ${has.join(", ")}`);
  return found;
}

/** The plant's OPC UA server where the query is about it. */
function opcuaAsked(plant: PlantHandle, query: URLSearchParams): OpcuaServer | undefined {
  return protocolOf(plant, query.get("protocol") ?? undefined) === "opcua" ? plant.opcua : undefined;
}

function servedFilter(plant: PlantHandle, query: URLSearchParams): ServedFilter {
  const point = query.get("point");
  const client = query.get("client");
  const after = wholeNumber(query, "after");
  const { points } = opcuaAsked(plant, query)?.map ?? plant.registerMap;
  if (point !== null && !points.some(({ name }) => name === point)) {
    throw refuse(400, `point: found ${JSON.stringify(point)}, which is no point of ${plant.id}`);
  }
  return {
    ...(point === null ? {} : { point }),
    ...(client === null ? {} : { client }),
    ...(after === undefined ? {} : { after }),
    limit: wholeNumber(query, "limit") ?? DEFAULT_LIMIT,
  };
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw refuse(413, `body: longer than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw refuse(400, "body: expected JSON");
  }
}

function startModbusFault(plant: PlantHandle, fault: unknown): Promise<unknown> {
  const parsed = parseFaultSpec(fault);
  if ("errors" in parsed) throw refuse(400, parsed.errors.join("; "));
  return plant.startFault(parsed.spec);
}

function startOpcuaFault(server: OpcuaServer, fault: unknown): Promise<unknown> {
  const parsed = parseOpcuaFaultSpec(fault);
  if ("errors" in parsed) throw refuse(400, parsed.errors.join("; "));
  return server.startFault(parsed.spec);
}

async function startFault(simulator: Simulator, _query: URLSearchParams, request: IncomingMessage): Promise<Reply> {
  const body = await readBody(request);
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw refuse(400, "body: expected an object");
  const { plant: id, protocol, ...fault } = body as Record<string, unknown>;
  const plant = findPlant(simulator, id);
  const { opcua } = protocolOf(plant, protocol) === "opcua" ? plant : {};
  try {
    return { status: 201, body: await (opcua ? startOpcuaFault(opcua, fault) : startModbusFault(plant, fault)) };
  } catch (error) {
    if (error instanceof RangeError) throw refuse(400, error.message);
    throw error;
  }
}

async function clearFaults(simulator: Simulator, query: URLSearchParams): Promise<Reply> {
  const id = wholeNumber(query, "id");
  const named = query.get("plant");
  if (id !== undefined && named === null && simulator.plants.length > 1) throw refuse(400, "plant: needed beside id");
  const plants = named === null ? simulator.plants : [findPlant(simulator, named)];
  // Both protocols number their faults from 1: one id is one of one protocol, all are all.
  const one = (plant: PlantHandle) => (opcuaAsked(plant, query) ?? plant).clearFaults(id);
  const all = async (plant: PlantHandle) => (await plant.clearFaults()) + ((await plant.opcua?.clearFaults()) ?? 0);
  const narrow = id !== undefined || query.has("protocol");
  const cleared = await Promise.all(plants.map(narrow ? one : all));
  return ok({ cleared: cleared.reduce((sum, count) => sum + count, 0) });
}

function getTruth(simulator: Simulator, query: URLSearchParams): Reply {
  const at = wholeNumber(query, "at");
  const named = query.get("plant");
  const plants = named === null ? simulator.plants : [findPlant(simulator, named)];
  try {
    const truths = plants.map((plant) => ({
      plant: plant.id,
      ...(at === undefined ? plant.truth() : plant.truthAt(at)),
    }));
    return ok(named === null ? truths : truths[0]);
  } catch (error) {
    if (error instanceof RangeError) throw refuse(400, `at: ${error.message}`);
    throw error;
  }
}

function describeOpcua({ port, endpointUrl, certificatePath, stats, faults }: OpcuaServer): unknown {
  return { port, endpointUrl, certificatePath, stats: stats(), faults: faults() };
}

function listPlants(simulator: Simulator): Reply {
  return ok(
    simulator.plants.map((plant) => ({
      id: plant.id,
      simulated: true,
      profile: plant.profile,
      label: plant.registerMap.label,
      seed: plant.seed,
      startMs: plant.startMs,
      timeMs: plant.truth().timeMs,
      host: plant.host,
      port: plant.port,
      stats: plant.stats(),
      faults: plant.faults(),
      ...(plant.opcua === undefined ? {} : { opcua: describeOpcua(plant.opcua) }),
    })),
  );
}

const ROUTES: Readonly<Record<string, Route>> = {
  "GET /plants": listPlants,
  "GET /truth": getTruth,
  "GET /map": (simulator, query) => {
    const plant = findPlant(simulator, query.get("plant"));
    return ok(opcuaAsked(plant, query)?.map ?? plant.registerMap);
  },
  "GET /served": (simulator, query) => {
    const plant = findPlant(simulator, query.get("plant"));
    return ok((opcuaAsked(plant, query) ?? plant).served(servedFilter(plant, query)));
  },
  "GET /held": (simulator, query) => {
    const plant = findPlant(simulator, query.get("plant"));
    query.set("protocol", "opcua");
    return ok(opcuaAsked(plant, query)?.held(servedFilter(plant, query)));
  },
  "GET /reads": (simulator, query) => {
    const plant = findPlant(simulator, query.get("plant"));
    return ok(plant.servedReads(servedFilter(plant, query)));
  },
  "GET /faults": (simulator) =>
    ok(
      simulator.plants.map(({ id, faults, opcua }) => ({
        plant: id,
        faults: faults(),
        ...(opcua === undefined ? {} : { opcua: opcua.faults() }),
      })),
    ),
  "POST /faults": startFault,
  "DELETE /faults": clearFaults,
};

async function handle(simulator: Simulator, request: IncomingMessage): Promise<Reply> {
  try {
    const url = URL.parse(request.url ?? "/", "http://control");
    if (url === null) throw refuse(400, "the request's address is no URL");
    const route = ROUTES[`${request.method} ${url.pathname}`];
    if (route === undefined) throw refuse(404, `expected one of ${Object.keys(ROUTES).join(", ")}`);
    return await route(simulator, url.searchParams, request);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const status = error instanceof Error && "status" in error ? Number(error.status) : 500;
    return { status, body: { error: message } };
  }
}

function reply(response: ServerResponse, { status, body }: Reply): void {
  // Values that are no JSON (64-bit integers) go as decimal strings.
  const text = `${toJson(body)}\n`;
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(text);
}

/** Starts the control interface, by default on a free loopback port. Rejects with the listener's error. */
export async function startControl(options: {
  readonly simulator: Simulator;
  readonly host?: string;
  readonly port?: number;
}): Promise<Control> {
  const { simulator, host = "127.0.0.1", port = 0 } = options;
  const server: Server = createServer((request, response) => {
    handle(simulator, request).then((result) => reply(response, result));
  });
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  return {
    host,
    port: typeof address === "object" && address !== null ? address.port : port,
    async close() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
