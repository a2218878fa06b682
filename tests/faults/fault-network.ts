import { setTimeout as pause } from "node:timers/promises";
import { anyGateway, between, type Draw, type Fault, lasting, type Plan } from "./fault.ts";
import { type Frame, PUBLISH } from "./mqtt-frames.ts";
import type { Rule } from "./proxy.ts";
import type { World } from "./world.ts";

const isData = ({ type, topic }: Frame): boolean => type === PUBLISH && topic?.split("/")[2] === "DDATA";
const later =
  (delayMs: number): Rule =>
  ({ bytes }, send) =>
    setTimeout(() => send(bytes), delayMs).unref();

const networkFault = (
  name: string,
  short: boolean,
  inject: (world: World, draw: Draw, plan: Plan) => Promise<void>,
): Fault => ({
  name,
  short,
  store: "duckdb",
  inject: async (world, draw, plan) => {
    await inject(world, draw, plan);
    for (const { proxy } of world.gateways) proxy.rules({});
    return undefined;
  },
});

const cut = networkFault("network cut", true, async (world, draw, plan) => {
  for (const { proxy } of world.gateways) {
    proxy.refuse(true);
    proxy.reset();
  }
  await lasting(draw, plan, 1500, 3000);
  for (const { proxy } of world.gateways) proxy.refuse(false);
});

/** Until the gateway has noticed by its own keep-alive: everything sent meanwhile has gone nowhere. */
const halfOpen = networkFault("half-open TCP", true, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  const before = proxy.connections();
  proxy.blackHole();
  for (const endMs = Date.now() + 20_000; proxy.connections() === before && Date.now() < endMs; ) await pause(50);
});

const delay = networkFault("delay", false, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  proxy.rules({ up: later(between(draw, 200, 500)), down: later(between(draw, 200, 500)) });
  await pause(3000);
});

/** The connection is reset within a packet, again and again. */
const reset = networkFault("reset within packets", false, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  for (let i = 0; i < 4; i += 1) {
    let left = between(draw, 1, 8);
    const broken = Promise.withResolvers<void>();
    proxy.rules({
      up: (frame, send) => {
        if (isData(frame)) left -= 1;
        if (left > 0) {
          send(frame.bytes);
          return;
        }
        send(frame.bytes.subarray(0, 1 + draw(frame.bytes.length - 1)));
        // After what was written has left.
        setImmediate(() => {
          proxy.reset();
          broken.resolve();
        });
      },
    });
    await Promise.race([broken.promise, pause(3000)]);
    proxy.rules({});
    await pause(between(draw, 100, 500));
  }
});

const abandoned = networkFault("reconnect while the old session lives", false, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  for (let i = 0; i < 2; i += 1) {
    proxy.abandon();
    await pause(between(draw, 300, 1200));
  }
});

/** Data is sent twice, or held back until the next has passed. */
const disorder = networkFault("publishes duplicated and reordered", true, async (world, draw, plan) => {
  for (const { proxy } of world.gateways) {
    let held: Buffer | undefined;
    proxy.rules({
      up: (frame, send) => {
        const kind = isData(frame) ? draw(3) : 2;
        if (kind === 0 && held === undefined) {
          held = frame.bytes;
          return;
        }
        send(frame.bytes);
        if (kind === 1) send(frame.bytes);
        if (held) send(held);
        held = undefined;
      },
    });
  }
  await lasting(draw, plan, 3000, 3000);
});

export const networkFaults: readonly Fault[] = [cut, halfOpen, delay, reset, abandoned, disorder];
