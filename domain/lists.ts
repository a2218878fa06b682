/**
 * Adds many items to a list. `list.push(...items)` puts every item on the stack, which ends the process with "Maximum call stack size
 * exceeded" at about 120,000 of them: a tick of a large cluster has more figures than that.
 * @param list is changed
 */
export function append<T>(list: T[], items: Iterable<T>): void {
  for (const item of items) list.push(item);
}

/** The least of many numbers, however many; Infinity of none. */
export function leastOf(numbers: Iterable<number>): number {
  let least = Number.POSITIVE_INFINITY;
  for (const number of numbers) if (number < least) least = number;
  return least;
}

/** The greatest of many numbers, however many; -Infinity of none. */
export function greatestOf(numbers: Iterable<number>): number {
  let greatest = Number.NEGATIVE_INFINITY;
  for (const number of numbers) if (number > greatest) greatest = number;
  return greatest;
}

/** A list in the order of a number of each item, equal ones as they stand: the list itself where it is in order, as most are. */
export function inOrderOf<T>(list: T[], numberOf: (item: T) => number): T[];
export function inOrderOf<T>(list: readonly T[], numberOf: (item: T) => number): readonly T[];
export function inOrderOf<T>(list: readonly T[], numberOf: (item: T) => number): readonly T[] {
  let before = Number.NEGATIVE_INFINITY;
  // By index: every record of a gateway passes here, and an iterator makes an object of each item.
  for (let i = 0; i < list.length; i += 1) {
    const number = numberOf(list[i] as T);
    if (number < before) return list.toSorted((a, b) => numberOf(a) - numberOf(b));
    before = number;
  }
  return list;
}
