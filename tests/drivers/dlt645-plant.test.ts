import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { until } from "@jilian/gateway/cases/scripted-server.ts";
import { readGatewayConfig } from "@jilian/gateway/config.ts";
import type { ShapedSample } from "@jilian/gateway/model.ts";
import { collectFrom } from "@jilian/gateway/test-collect.ts";
import { createMeter, PLANT_METER_RATIO, plantMeterValues } from "@jilian/simulators/dlt645-meter.ts";
import { startDlt645Server } from "@jilian/simulators/dlt645-server.ts";
import { createPlant } from "@jilian/simulators/plant.ts";
import pino from "pino";
import { expect, it } from "vitest";

const log = pino({ level: "silent" });
const feeders = ["feeder-1", "feeder-2", "feeder-3"] as const;
const addressOf = (i: number) => `00000000016${i + 1}`;

const metersText = feeders
  .map(
    (id, i) => `
  - id: ${id}
    driver: dlt645
    line: east
    meterAddress: "${addressOf(i)}"
    timeoutMs: 150
    pollIntervalMs: 50
    heartbeatMs: 100
    retryMinMs: 100
    retryMaxMs: 1000
    tags:
      - { name: energy, dataId: "00010000", scale: { numerator: ${PLANT_METER_RATIO} } }
      - { name: power, dataId: "02030000", scale: { numerator: ${PLANT_METER_RATIO} } }
      - { name: reactive, dataId: "02040000", scale: { numerator: ${PLANT_METER_RATIO} } }
      - { name: u1, dataId: "02010100" }
      - { name: u2, dataId: "02010200" }
      - { name: u3, dataId: "02010300" }`,
  )
  .join("");

it("the feeders of a plant, on one line, are what they truly are; one that dies takes no other with it", async () => {
  const plant = createPlant({ profile: "copper-casting", seed: 7, startMs: 0 });
  plant.advanceTo(60_000);
  const meters = feeders.map((id, i) =>
    createMeter({ address: addressOf(i), values: () => plantMeterValues(plant, id) }),
  );
  const server = await startDlt645Server({ meters, port: 0 });
  const line = `lines: [{ id: east, kind: tcp, host: 127.0.0.1, port: ${server.port}, quietMs: 0.1 }]\n`;
  const text = `group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\n${line}devices:${metersText}\n`;
  const read = readGatewayConfig(text, "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  const last = new Map<string, ShapedSample>();
  const definitions = new Map<string, readonly MetricDefinition[]>();
  const down = new Set<string>();
  const { close } = collectFrom(read.value, log, {
    events: {
      onDefinitions: (device, all) => definitions.set(device, all),
      onConnection: (device, { connected }) => (connected ? down.delete(device) : down.add(device)),
      onSamples: (device, samples) => {
        for (const sample of samples) last.set(`${device} ${sample.metric}`, sample);
      },
    },
  });
  const latest = (device: string, metric: string) => last.get(`${device} ${metric}`)?.value;
  try {
    await until("every tag of every meter", () => last.size === 6 * feeders.length);
    for (const id of feeders) {
      const energyKWh = Number(latest(id, "energy"));
      const trueKWh = plant.quantity(id, "energyImport") / 1e6;
      // Behind 100:1 the last digit is a whole kWh, and the meter cuts, as all do.
      expect(energyKWh).toBe(Math.floor(trueKWh) % 100_000_000);
      expect(Math.abs(Number(latest(id, "power")) - plant.quantity(id, "powerActive") / 1000)).toBeLessThan(0.011);
      expect(Math.abs(Number(latest(id, "reactive")) - plant.quantity(id, "powerReactive") / 1000)).toBeLessThan(0.011);
      expect(Number(latest(id, "u2"))).toBe(Math.floor(plant.quantity(id, "voltageL2") / 100) / 10);
      const [energy] = definitions.get(id) ?? [];
      expect(energy).toMatchObject({ simulated: true, role: "energy.import", unit: "kWh", resolution: "1" });
      expect(energy).toMatchObject({ modulus: "100000000" });
    }
    const { id } = server.startFault({ kind: "silent", address: addressOf(1) });
    await until("the dead one", () => down.has("feeder-2"));
    plant.advanceTo(120_000);
    const fresh = (feeder: string) => Math.floor(plant.quantity(feeder as "feeder-1", "energyImport") / 1e6);
    await until("the living ones", () => ["feeder-1", "feeder-3"].every((one) => latest(one, "energy") === fresh(one)));
    expect([...down]).toEqual(["feeder-2"]);
    server.clearFaults(id);
    await until("all three", () => down.size === 0 && latest("feeder-2", "energy") === fresh("feeder-2"));
    expect(server.stats().writesRefused).toBe(0);
    expect(new Set(server.requests.map(({ control }) => control))).toEqual(new Set([0x11]));
  } finally {
    await close();
    await server.stop();
  }
});
