/** A level of topics or filters: what stands here, and the levels below by name. */
export type Level<T> = { here: T | undefined; readonly below: Map<string, Level<T>> };

export const emptyLevel = <T>(): Level<T> => ({ here: undefined, below: new Map() });

/** The level of a topic or filter; made where it is missing. */
export function madeLevel<T>(root: Level<T>, topic: string): Level<T> {
  let level = root;
  for (const word of topic.split("/")) {
    const next = level.below.get(word) ?? emptyLevel<T>();
    level.below.set(word, next);
    level = next;
  }
  return level;
}

/** The level of a topic or filter, if there is one. */
export function foundLevel<T>(root: Level<T>, topic: string): Level<T> | undefined {
  let level: Level<T> | undefined = root;
  for (const word of topic.split("/")) level = level?.below.get(word);
  return level;
}

/** Takes what stands at a topic or filter away, with the levels that hold nothing any more. */
export function clearLevel<T>(root: Level<T>, topic: string): void {
  function clear(level: Level<T>, words: readonly string[], at: number): void {
    const word = words[at];
    if (word === undefined) {
      level.here = undefined;
      return;
    }
    const next = level.below.get(word);
    if (!next) return;
    clear(next, words, at + 1);
    if (next.here === undefined && next.below.size === 0) level.below.delete(word);
  }
  clear(root, topic.split("/"), 0);
}
