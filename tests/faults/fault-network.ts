import { setTimeout as pause } from "node:timers/promises";
import { anyGateway, between, came, type Draw, type Fault, lasting, type Outcome, type Plan, unless } from "./fault.ts";
import { type Frame, PUBLISH } from "./mqtt-frames.ts";
import type { Rule } from "./proxy.ts";
import type { World } from "./world.ts";

const isData = ({ type, topic }: Frame): boolean => type === PUBLISH && topic?.split("/")[2] === "DDATA";
function later(delayMs: number, onFrame: () => void): Rule {
  return ({ bytes }, send) => {
    onFrame();
    setTimeout(() => send(bytes), delayMs).unref();
  };
}

const networkFault = (
  name: string,
  short: boolean,
  inject: (world: World, draw: Draw, plan: Plan) => Promise<Outcome["unfelt"]>,
): Fault => ({
  name,
  short,
  store: "duckdb",
  inject: async (world, draw, plan) => {
    const unfelt = await inject(world, draw, plan);
    for (const { proxy } of world.gateways) proxy.rules({});
    return { unfelt };
  },
});

const cut = networkFault("network cut", true, async (world, draw, plan) => {
  const before = world.gateways.map(({ proxy }) => proxy.refused());
  for (const { proxy } of world.gateways) {
    proxy.refuse(true);
    proxy.reset();
  }
  await lasting(draw, plan, 1500, 3000);
  const connected = await Promise.all(
    world.gateways.map(({ id }) => world.metric(id, "jilian_gateway_mqtt_connected")),
  );
  for (const { proxy } of world.gateways) proxy.refuse(false);
  return unless({
    "a gateway had its connection all the while": connected.every((n) => n === 0),
    "a gateway did not try to connect": world.gateways.every(({ proxy }, i) => proxy.refused() > (before[i] as number)),
  });
});

/** Until the gateway has noticed by its own keep-alive: everything sent meanwhile has gone nowhere. */
const halfOpen = networkFault("half-open TCP", true, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  const before = proxy.connections();
  proxy.blackHole();
  const isNoticed = await came(20_000, () => proxy.connections() > before);
  return unless({ "the gateway did not notice within 20 s and connected no more": isNoticed });
});

const delay = networkFault("delay", false, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  const delayed = { up: 0, down: 0 };
  proxy.rules({
    up: later(between(draw, 200, 500), () => {
      delayed.up += 1;
    }),
    down: later(between(draw, 200, 500), () => {
      delayed.down += 1;
    }),
  });
  await pause(3000);
  return unless({ "nothing was delayed on one of the two ways": delayed.up > 0 && delayed.down > 0 });
});

/** The connection is reset within a packet, again and again. */
const reset = networkFault("reset within packets", false, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  const before = proxy.connections();
  let broken = 0;
  for (let i = 0; i < 4; i += 1) {
    let left = between(draw, 1, 8);
    const isBroken = Promise.withResolvers<void>();
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
          broken += 1;
          isBroken.resolve();
        });
      },
    });
    await Promise.race([isBroken.promise, pause(3000)]);
    proxy.rules({});
    await pause(between(draw, 100, 500));
  }
  return unless({
    "no packet was cut in two": broken > 0,
    "no connection was made anew": proxy.connections() > before,
  });
});

const abandoned = networkFault("reconnect while the old session lives", false, async (world, draw) => {
  const { proxy } = anyGateway(world, draw);
  const before = proxy.connections();
  for (let i = 0; i < 2; i += 1) {
    proxy.abandon();
    await pause(between(draw, 300, 1200));
  }
  return unless({ "fewer connections were made than were abandoned": proxy.connections() >= before + 2 });
});

/** Data is sent twice, or held back until the next has passed. */
const disorder = networkFault("publishes duplicated and reordered", true, async (world, draw, plan) => {
  const done = { twice: 0, reordered: 0 };
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
        if (kind === 1) done.twice += 1;
        if (held) send(held);
        if (held) done.reordered += 1;
        held = undefined;
      },
    });
  }
  await lasting(draw, plan, 3000, 3000);
  return unless({ "nothing was sent twice": done.twice > 0, "nothing was reordered": done.reordered > 0 });
});

export const networkFaults: readonly Fault[] = [cut, halfOpen, delay, reset, abandoned, disorder];
