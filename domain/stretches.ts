import { type CounterLeaf, mergeLeaves } from "./leaf.ts";
import { addQuantities, noQuantity, type Quantity, quantityOf } from "./machine-sums.ts";

/**
 * What a counter says of the minutes of a block that count, so that neighbouring blocks merge: a stretch of neighbouring minutes is one,
 * whichever blocks it crosses. Merging is associative, and comes to what `quantityOfMinutes` says of all the minutes together.
 */
export type Stretches =
  /** Every minute of the block counts and has a leaf: one stretch from edge to edge. */
  | { readonly through: CounterLeaf }
  | {
      readonly through?: undefined;
      /** The stretch that begins at the block's start, and the one that ends at its end. */
      readonly head: CounterLeaf | undefined;
      readonly tail: CounterLeaf | undefined;
      /** Those between them. */
      readonly inside: Quantity;
    };

/** No minute of the block counts, or those that do have no leaf. */
export const noStretch: Stretches = { head: undefined, tail: undefined, inside: noQuantity };

function joined(tail: CounterLeaf | undefined, head: CounterLeaf | undefined): Quantity {
  const leaf = tail && head ? mergeLeaves(tail, head) : (tail ?? head);
  return leaf ? quantityOf(leaf) : noQuantity;
}

/** Merges two neighbouring blocks, earlier first. */
export function mergeStretches(a: Stretches, b: Stretches): Stretches {
  if (a === noStretch && b === noStretch) return noStretch;
  if (a.through) {
    if (b.through) return { through: mergeLeaves(a.through, b.through) };
    return { ...b, head: b.head ? mergeLeaves(a.through, b.head) : a.through };
  }
  if (b.through) return { ...a, tail: a.tail ? mergeLeaves(a.tail, b.through) : b.through };
  const inside = addQuantities(addQuantities(a.inside, joined(a.tail, b.head)), b.inside);
  return { head: a.head, tail: b.tail, inside };
}

/** What all of them add up to; stretches at the edges end there. */
export function closeStretches(own: Stretches): Quantity {
  if (own.through) return quantityOf(own.through);
  return addQuantities(addQuantities(joined(undefined, own.head), own.inside), joined(own.tail, undefined));
}
