/**
 * One machine: a seeded state machine that drives power, energy, pieces and temperature. Everything is an integer, and
 * within a slot of one second every rate is constant. So n ticks at once give exactly what n single ticks give.
 */
import type { MachineProfile } from "./profiles.ts";
import { between, createRandom, hash32 } from "./random.ts";

/** Scan cycle of the simulated PLC: registers change at most this often. */
export const TICK_MS = 100;
const TICKS_PER_SLOT = 10;

/** A power of 36 W makes 1 mWh in a tick, so that energy stays an exact decimal of a kWh. */
const W_PER_QUANTUM = 36;

export const MACHINE_STATES = { off: 0, running: 1, idle: 2, setUp: 3, fault: 4 } as const;
export type MachineState = keyof typeof MACHINE_STATES;

/** Shortest and longest stay in a state, in seconds. */
const DWELL_S: Readonly<Record<MachineState, readonly [number, number]>> = {
  off: [120, 420],
  running: [180, 900],
  idle: [15, 75],
  setUp: [40, 180],
  fault: [45, 240],
};

/** Where a state leads, with weights out of 1000. Faults are rare: about one in twenty runs ends in one. */
const NEXT: Readonly<Record<MachineState, readonly (readonly [MachineState, number])[]>> = {
  off: [["setUp", 1000]],
  running: [
    ["idle", 600],
    ["setUp", 330],
    ["fault", 45],
    ["off", 25],
  ],
  idle: [
    ["running", 850],
    ["setUp", 150],
  ],
  setUp: [
    ["running", 980],
    ["fault", 20],
  ],
  fault: [
    ["setUp", 600],
    ["idle", 400],
  ],
};

export type Production = {
  total: number;
  good: number;
  scrap: number;
  rework: number;
  inspected: number;
  passed: number;
};

/** Read by everyone, changed by `advance` alone. */
export type Machine = {
  readonly state: MachineState;
  readonly powerW: number;
  readonly reactiveVar: number;
  /** Energy since the start of the plant, in mWh. */
  readonly energyMilliWh: number;
  readonly temperatureMilliC: number;
  /** Counters as the PLC holds them: they did not start at 0 with the simulation. */
  readonly production: Readonly<Production>;
  readonly runningMs: number;
  readonly initial: { readonly production: Readonly<Production>; readonly runningMs: number };
  readonly msByState: Readonly<Record<MachineState, number>>;
  advance(ticks: number): void;
};

const PROGRESS_PER_PIECE = 10_000_000;

function initialProduction(profile: MachineProfile, index: number, seed: number): Production {
  const draw = hash32(seed, 0x70726f64);
  // The first machine's 16-bit inspection counter stands just below 65536, so that a run of four minutes sees it roll.
  const total =
    index === 0 ? 65_536 * between(draw, 1, 6) - between(draw >>> 4, 110, 180) : between(draw, 150_000, 900_000);
  const inspected = Math.floor(total / profile.inspectEvery);
  const scrap = Math.floor((total * profile.failPer1000 * 4) / 10_000);
  const rework = Math.floor((total * profile.failPer1000 * 6) / 10_000);
  const passed = inspected - Math.floor((inspected * profile.failPer1000) / 1000);
  return { total, good: total - scrap, scrap, rework, inspected, passed };
}

function chooseNext(state: MachineState, draw: number): MachineState {
  let rest = draw % 1000;
  for (const [next, weight] of NEXT[state]) {
    if (rest < weight) return next;
    rest -= weight;
  }
  return "running";
}

function nominalW(profile: MachineProfile, state: MachineState): number {
  switch (state) {
    case "off":
      return 0;
    case "running":
      return profile.runningW;
    case "idle":
      return profile.idleW;
    case "setUp":
      return profile.setUpW;
    case "fault":
      return profile.faultW;
  }
}

function countPiece(production: Production, profile: MachineProfile, draw: number): void {
  const passes = draw % 1000 >= profile.failPer1000;
  const scrapped = !passes && (draw >>> 10) % 1000 < 400;
  production.total += 1;
  if (scrapped) production.scrap += 1;
  else production.good += 1;
  if (!passes && !scrapped) production.rework += 1;
  if (production.total % profile.inspectEvery !== 0) return;
  production.inspected += 1;
  if (passes) production.passed += 1;
}

/** What changes from one slot to the next, beside the dwell itself. */
type Slot = {
  readonly powerW: number;
  readonly reactiveVar: number;
  readonly progressPerTick: number;
  readonly warmingMilliC: number;
};

/** The second to come, from one draw: its four bytes vary power, reactive power, pace and temperature. */
function drawSlot(profile: MachineProfile, state: MachineState, temperatureMilliC: number, draw: number): Slot {
  const running = state === "running";
  const spread = 1000 + between(draw & 0xff, -80, 80);
  const quanta = Math.round((nominalW(profile, state) * spread) / (1000 * W_PER_QUANTUM));
  const powerW = quanta * W_PER_QUANTUM;
  const second = (draw >>> 8) & 0xff;
  const targetMilliC = running ? profile.runningMilliC : profile.restMilliC;
  return {
    powerW,
    // At rest the fixed capacitors over-compensate: reactive power turns negative, as it does in real plants.
    reactiveVar: running ? Math.round((powerW * (350 + second)) / 1000) : -between(second, 700, 955),
    progressPerTick: running ? profile.piecesPer1000S * between((draw >>> 16) & 0xff, 950, 1050) : 0,
    warmingMilliC: Math.trunc((targetMilliC - temperatureMilliC) / 90) + between(draw >>> 24, -120, 120),
  };
}

/** Creates the machine with the given index (0 to 2) at the start of its plant: running, and soon through its first piece. */
export function createMachine(profile: MachineProfile, index: number, seed: number): Machine {
  const nextSlotDraw = createRandom(hash32(seed, 1));
  const nextDwellDraw = createRandom(hash32(seed, 2));
  const nextPieceDraw = createRandom(hash32(seed, 3));
  const production = initialProduction(profile, index, seed);
  const runningMs = Math.floor((production.total * 1_000_000) / profile.piecesPer1000S);
  const machine = {
    state: "running" as MachineState,
    powerW: 0,
    reactiveVar: 0,
    energyMilliWh: 0,
    temperatureMilliC: profile.runningMilliC,
    production,
    runningMs,
    initial: { production: { ...production }, runningMs },
    msByState: { off: 0, running: 0, idle: 0, setUp: 0, fault: 0 },
    advance,
  };
  let slotsLeft = between(nextDwellDraw(), 240, 900);
  let ticksLeftInSlot = 0;
  let progress = 0;
  let progressPerTick = 0;

  function startSlot(): void {
    if (slotsLeft === 0) {
      machine.state = chooseNext(machine.state, nextDwellDraw());
      const [shortest, longest] = DWELL_S[machine.state];
      slotsLeft = between(nextDwellDraw(), shortest, longest);
    }
    slotsLeft -= 1;
    ticksLeftInSlot = TICKS_PER_SLOT;
    const slot = drawSlot(profile, machine.state, machine.temperatureMilliC, nextSlotDraw());
    machine.powerW = slot.powerW;
    machine.reactiveVar = slot.reactiveVar;
    machine.temperatureMilliC += slot.warmingMilliC;
    progressPerTick = slot.progressPerTick;
  }

  function advance(ticks: number): void {
    let left = ticks;
    while (left > 0) {
      if (ticksLeftInSlot === 0) startSlot();
      const step = Math.min(left, ticksLeftInSlot);
      left -= step;
      ticksLeftInSlot -= step;
      machine.energyMilliWh += (machine.powerW / W_PER_QUANTUM) * step;
      machine.msByState[machine.state] += step * TICK_MS;
      if (machine.state === "running") machine.runningMs += step * TICK_MS;
      progress += progressPerTick * step;
      while (progress >= PROGRESS_PER_PIECE) {
        progress -= PROGRESS_PER_PIECE;
        countPiece(production, profile, nextPieceDraw());
      }
    }
  }

  startSlot();
  return machine;
}

/** The register value of a state. */
export function stateCode(state: MachineState): number {
  return MACHINE_STATES[state];
}
