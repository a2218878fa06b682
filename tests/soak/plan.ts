/** What happens to a gateway in a soak, and when. Pure: a seed and a length give one plan. */
import { between, createRandom, hash32 } from "@jilian/simulators/random.ts";

/** Whatever can be at fault by itself. In each at most one thing at a time is wrong; several of them may be at once. */
const tracks = {
  modbus: {
    kinds: ["silentUnit", "silent", "cut", "refused", "exception", "garbage", "truncated", "late", "slow"],
    gapS: [5, 25],
    lastsS: [4, 20],
  },
  opcua: {
    kinds: ["restart", "cut", "refused", "silent", "deadSubscription", "forgetSession", "badStatus"],
    gapS: [15, 45],
    lastsS: [5, 25],
  },
  meters: {
    kinds: ["silent", "wrongChecksum", "errorAnswer", "otherMeter", "late", "echo", "noise", "cut"],
    gapS: [5, 25],
    lastsS: [4, 20],
  },
  rtu: { kinds: ["silent", "cut", "refused", "exception", "garbage"], gapS: [5, 25], lastsS: [4, 20] },
  dialler: { kinds: ["away", "replaced", "strangers", "silent", "flaps"], gapS: [5, 25], lastsS: [4, 20] },
  platform: {
    kinds: ["brokerKilled", "ingestKilled", "brokerStopped", "allKilled"],
    gapS: [30, 90],
    lastsS: [20, 90],
  },
  reload: { kinds: ["device", "tag", "line", "broker", "faulty"], gapS: [80, 150], lastsS: [20, 60] },
} as const;

export type Track = keyof typeof tracks;
export const trackNames = Object.keys(tracks) as Track[];
export type Episode = {
  readonly track: Track;
  readonly kind: string;
  /** Since the start. */
  readonly atMs: number;
  readonly forMs: number;
  /** 32 bits: whom it strikes. */
  readonly draw: number;
};
export type KindOf<T extends Track> = (typeof tracks)[T]["kinds"][number];

/** Nothing is wrong any more for so long before the end: all must be well again then. */
export function calmMs(runMs: number): number {
  return Math.min(60_000, runMs / 3);
}

function shuffled<T>(list: readonly T[], draw: () => number): T[] {
  return list
    .map((item) => ({ item, at: draw() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Every kind of a track comes once before any comes again. */
function trackOf(track: Track, seed: number, runMs: number): Episode[] {
  const draw = createRandom(hash32(seed, trackNames.indexOf(track)));
  const { kinds, gapS, lastsS } = tracks[track];
  // A run of minutes is denser, so that it knows each track.
  const pace = Math.min(1, Math.max(0.1, runMs / 600_000));
  const drawn = ([minS, maxS]: readonly [number, number]) =>
    Math.round(pace * between(draw(), 1000 * minS, 1000 * maxS));
  const endMs = runMs - calmMs(runMs);
  const episodes: Episode[] = [];
  let deck: string[] = [];
  for (let atMs = drawn(gapS); ; ) {
    if (deck.length === 0) deck = shuffled<string>(kinds, draw);
    const forMs = drawn(lastsS);
    if (atMs + forMs > endMs) return episodes;
    episodes.push({ track, kind: deck.pop() as string, atMs, forMs, draw: draw() });
    atMs += forMs + drawn(gapS);
  }
}

/** All that happens, by time. */
export function planOf(seed: number, runMs: number): Episode[] {
  return trackNames.flatMap((track) => trackOf(track, seed, runMs)).sort((a, b) => a.atMs - b.atMs);
}
