import type { Dlt645Tag } from "./dlt645-config.ts";
import { blockOf, knownData } from "./dlt645-ids.ts";
import { dataIdOf, formatOf } from "./dlt645-tags.ts";

/** One question: a single value, or a block whose values several tags ask for. */
export type Question = {
  readonly dataId: string;
  /** Positions in the device's tags, and in the block's values (0 for a single one). Never empty. */
  readonly wants: readonly { readonly tag: number; readonly index: number }[];
  /** Bytes of each value of a block; undefined for a single value. */
  readonly valueBytes?: number;
};

const single = (tags: readonly Dlt645Tag[], tag: number): Question => ({
  dataId: dataIdOf(tags[tag] as Dlt645Tag),
  wants: [{ tag, index: 0 }],
});

/** The questions of a block's tags, each alone. */
export function askedAlone(tags: readonly Dlt645Tag[], { wants }: Question): Question[] {
  return wants.map(({ tag }) => single(tags, tag));
}

/** The block of a tag; undefined where it has none, or where its own format does not cut the block as the standard does. */
function usableBlock(tag: Dlt645Tag) {
  const dataId = dataIdOf(tag);
  const block = blockOf(dataId);
  const valueBytes = (formatOf(tag)?.digits ?? 0) / 2;
  const standard = knownData(dataId)?.format.replace(".", "").length;
  return block !== undefined && standard === 2 * valueBytes ? { ...block, valueBytes } : undefined;
}

/**
 * Plans the questions to one meter: tags of one block (three voltages, an energy and its tariffs) are asked for together where there are
 * two or more, the others one by one. Pure; in the order of the tags.
 * @param members positions of the tags to plan
 * @param isAlone whether a block is known not to work with this meter, or lacks this tag
 */
export function planQuestions(
  tags: readonly Dlt645Tag[],
  members: readonly number[],
  isAlone: (blockId: string, tag: number) => boolean,
): Question[] {
  const questions = new Map<string, Question>();
  for (const tag of members) {
    const block = usableBlock(tags[tag] as Dlt645Tag);
    if (block === undefined || isAlone(block.blockId, tag)) {
      questions.set(`tag ${tag}`, single(tags, tag));
      continue;
    }
    const { blockId, index, valueBytes } = block;
    const wants = [...(questions.get(blockId)?.wants ?? []), { tag, index }];
    questions.set(blockId, { dataId: blockId, wants, valueBytes });
  }
  return [...questions.values()].flatMap((question) =>
    question.valueBytes !== undefined && question.wants.length === 1 ? askedAlone(tags, question) : [question],
  );
}
