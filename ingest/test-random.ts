/** Random numbers of the tests: the same seed gives the same numbers (mulberry32). */
export function random(seed: number) {
  let state = seed * 0x9e3779b1;
  function next(): number {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  const whole = (below: number) => Math.floor(next() * below);
  return {
    next,
    /** A whole number in [0, below). */
    whole,
    chance: (probability: number) => next() < probability,
    shuffled: <T>(items: readonly T[]): T[] => {
      const found = [...items];
      for (let i = found.length - 1; i > 0; i -= 1) {
        const j = whole(i + 1);
        [found[i], found[j]] = [found[j] as T, found[i] as T];
      }
      return found;
    },
  };
}
