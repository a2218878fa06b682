/** The product at work, recorded: gateway, broker and host as they are, with a Modbus and an OPC UA device, through everything a line does. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokerSchema } from "@jilian/broker/config.ts";
import { startBroker } from "@jilian/broker/start.ts";
import { systemClock } from "@jilian/domain/clock.ts";
import { readGatewayConfig } from "@jilian/gateway/config.ts";
import { type Gateway, startGateway } from "@jilian/gateway/run.ts";
import { startTestServer, type TestServer } from "@jilian/gateway/test-opcua.ts";
import { connectBus } from "@jilian/ingest/bus.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { startIngest } from "@jilian/ingest/start.ts";
import { openWorld, silent, testRegistry, type World } from "@jilian/ingest/test-world.ts";
import { createLiveState, deviceState, type LiveState } from "@jilian/store/live.ts";
import { connectAsync, type MqttClient } from "mqtt";
import { Value } from "typebox/value";
import type { Capture, Entry, Mark } from "./capture.ts";
import { type Plc, startPlc } from "./plc.ts";
import { type Recorder, startRecorder } from "./recorder.ts";

export const reorderMs = 150;
export const [group, node, hostId] = ["f1", "gw-1", "jilian"] as const;
/** Addresses of the registers: a counter that changes all the time, a temperature that the scenario sets, one that stands still. */
export const register = { count: 10, temperature: 11, level: 12 } as const;
const secret = "secret of the scenario";
const boundMs = 30_000;

type Host = { live: LiveState; close: () => Promise<void>; lose: () => void };
export type Scene = {
  log: Entry[];
  world: World;
  plc: Plc;
  opcua: TestServer;
  edge: Recorder;
  host: Recorder;
  probe: Recorder;
  mark: (what: string, more?: Partial<Mark>) => void;
  /** Notes what the host's live state shows now. */
  view: (live: LiveState) => void;
  /** Waits for something in the log or in a state, looked for with each entry and from time to time. */
  until: <T>(what: string, find: () => T | undefined | false) => Promise<T>;
  startHost: () => Promise<Host>;
  startGateway: () => Gateway;
  startProbe: (name: string) => Promise<MqttClient>;
};

/** Looks again with each entry, and every 20 ms for what no packet tells. */
function waiter(log: Entry[]) {
  const checks = new Set<() => void>();
  return {
    onEntry: (): void => {
      for (const check of checks) check();
    },
    until: <T>(what: string, find: () => T | undefined | false): Promise<T> =>
      new Promise((resolve, reject) => {
        const timer = setInterval(check, 20);
        const bound = setTimeout(() => {
          over();
          reject(new Error(`not within ${boundMs} ms: ${what}; the log has ${log.length} entries`));
        }, boundMs);
        function over(): void {
          clearInterval(timer);
          clearTimeout(bound);
          checks.delete(check);
        }
        function check(): void {
          const found = find();
          if (found === undefined || found === false) return;
          over();
          resolve(found);
        }
        checks.add(check);
        check();
      }),
  };
}

function gatewayText(folder: string, plc: number, opcua: string, broker: number): string {
  return `group: ${group}
node: ${node}
primaryHost: ${hostId}
broker: { host: 127.0.0.1, port: ${broker}, username: ${group}/${node}, password: ${secret}, reconnectMinMs: 20, reconnectMaxMs: 50 }
outbox: { path: ${folder}/outbox.db, fsyncMs: 20, commitTimeoutMs: 3000 }
history: false
devices:
  - { id: press-1, driver: modbus-tcp, host: 127.0.0.1, port: ${plc}, unitId: 1, pollIntervalMs: 10, heartbeatMs: 2000,
      timeoutMs: 1000, retryMinMs: 20, retryMaxMs: 50,
      tags: [{ name: count, table: holding, address: ${register.count}, type: uint16 },
             { name: temperature, table: holding, address: ${register.temperature}, type: int16, unit: Cel },
             { name: level, table: holding, address: ${register.level}, type: int16 }] }
  - { id: meter-1, driver: opcua, endpointUrl: "${opcua}", pollIntervalMs: 50, heartbeatMs: 400, publishingIntervalMs: 50,
      samplingIntervalMs: 0, timeoutMs: 2000, retryMinMs: 50, retryMaxMs: 200,
      tags: [{ name: energy, nodeId: "nsu=urn:test:machine;s=energy", type: float64, unit: kWh }] }
`;
}

async function startHost({ host, world }: Pick<Scene, "host" | "world">): Promise<Host> {
  const live = createLiveState();
  const login = { host: "127.0.0.1", port: host.port, username: hostId, password: secret, hostId };
  const bus = connectBus(login, Date.now, silent);
  const config = { ...Value.Create(ingestSchema), lingerMs: 1, reorderMs, rebirthIntervalMs: 1000, kpiIntervalMs: 50 };
  const ingest = await startIngest(config, {
    ...{ bus, telemetry: world.telemetry, ledger: world.ledger, ledgerPath: world.ledgerPath, live },
    ...{ registry: testRegistry(true), clock: systemClock, clockSetting: undefined, log: silent },
  });
  return {
    live,
    lose: host.cut,
    close: async () => {
      await ingest.close();
      await bus.close();
    },
  };
}

export async function openScene(): Promise<Scene & { close: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), "jilian-conformance-"));
  const log: Entry[] = [];
  const world = await openWorld();
  world.ledger.setCredential({ kind: "gateway", name: `${group}/${node}`, group, node }, secret);
  for (const name of [hostId, "other"]) world.ledger.setCredential({ kind: "host", name }, secret);
  const broker = await startBroker({ ...Value.Create(brokerSchema), port: 0 }, { ledger: world.ledger, log: silent });
  const { onEntry, until } = waiter(log);
  const [edge, host, probe] = (await Promise.all(
    (["edge", "host", "probe"] as const).map((who) => startRecorder(who, broker.port, log, onEntry)),
  )) as [Recorder, Recorder, Recorder];
  const plc = await startPlc(
    new Map([
      [register.count, 0],
      [register.temperature, 20],
      [register.level, 7],
    ]),
  );
  const opcua = await startTestServer({ pkiDir: join(folder, "pki"), secured: false });
  opcua.set("energy", { dataType: "Double", value: 1.5 });
  const ends: (() => Promise<unknown>)[] = [];
  const scene = {
    ...{ log, world, plc, opcua, edge, host, probe, until },
    mark: (what: string, more: Partial<Mark> = {}) => {
      log.push({ at: Date.now(), kind: "mark", what, ...more });
    },
    view: (live: LiveState) => {
      const at = Date.now();
      const isAlive = live.nodes.get(`${group}/${node}`)?.alive === true;
      log.push({ at, kind: "view", of: `${group}/${node}`, state: isAlive ? "online" : "offline" });
      for (const device of ["press-1", "meter-1"]) {
        const state = deviceState(live, group, node, device, at);
        log.push({ at, kind: "view", of: `${group}/${node}/${device}`, state });
      }
    },
    startGateway: () => {
      const checked = readGatewayConfig(gatewayText(folder, plc.port, opcua.endpointUrl, edge.port), "gateway.yaml");
      if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
      const gateway = startGateway(checked.value, { log: silent, clock: systemClock });
      ends.push(gateway.close);
      return gateway;
    },
    startHost: async () => {
      const started = await startHost({ host, world });
      ends.push(started.close);
      return started;
    },
    startProbe: async (name: string) => {
      const options = {
        username: name,
        password: secret,
        clientId: `${name}-probe-${ends.length}`,
        reconnectPeriod: 0,
      };
      const client = await connectAsync(`mqtt://127.0.0.1:${probe.port}`, options, false);
      ends.push(() => client.endAsync(true));
      return client;
    },
  };
  return {
    ...scene,
    close: async () => {
      for (const end of ends.reverse()) await end().catch(() => undefined);
      await Promise.all([edge.close(), host.close(), probe.close(), plc.close(), opcua.stop()]);
      await broker.close();
      await world.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export type Recorded = { capture: Capture; tookMs: number };
