/** Repeatable random numbers for property tests (xorshift32, Marsaglia 2003): a failure is found again by its seed. */
export function randomFrom(seed: number) {
  let state = seed | 0 || 1;
  /** A whole number in [0, 2^32). */
  function bits(): number {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  }
  return { bits, below: (n: number): number => bits() % n };
}
