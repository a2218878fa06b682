import type { DataTransformerConfig } from "@grafana/grafana-foundation-sdk/dashboard";

/** One row for each entity, with a column from each of several queries. Where a query says nothing of an entity its cell is empty. */
export function joinByEntity(columns: readonly string[]): DataTransformerConfig[] {
  return [
    { id: "filterFieldsByName", options: { include: { names: ["entity", ...columns] } } },
    { id: "joinByField", options: { byField: "entity", mode: "outer" } },
  ];
}

/** A share from two columns: both are sums over the same minutes, so that no ratio is averaged. */
export function shareOf(part: string, whole: string, name: string, replaceFields: boolean): DataTransformerConfig {
  return {
    id: "calculateField",
    options: {
      mode: "binary",
      alias: name,
      binary: {
        left: { matcher: { id: "byName", options: part } },
        operator: "/",
        right: { matcher: { id: "byName", options: whole } },
      },
      replaceFields,
    },
  };
}

/** One row for each series: its labels as columns in the order given, and its last value as `Last`. */
export function rowPerSeries(labels: readonly string[]): DataTransformerConfig[] {
  const indexByName = Object.fromEntries([...labels, "Last"].map((name, index) => [name, index]));
  return [
    { id: "reduce", options: { mode: "seriesToRows", labelsToFields: true, reducers: ["last"] } },
    { id: "organize", options: { excludeByName: { Field: true }, indexByName } },
  ];
}
