/** Adds to a set that holds so many at most: what was added first makes room. */
export function addBounded<T>(set: Set<T>, value: T, most: number): void {
  set.add(value);
  const [oldest] = set;
  if (set.size > most && oldest !== undefined) set.delete(oldest);
}
