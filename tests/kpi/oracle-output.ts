/** The oracle: what a site makes, and what a piece of it takes. */
import { type Asked, amount, comprehensive, elapsed, lesser, type Sum } from "./oracle-energy.ts";
import { nearest, nothing, type OracleFigure } from "./oracle-machines.ts";
import { hour, ratio, rounded, sumOf } from "./oracle-readings.ts";
import type { OraclePlace, OracleSite } from "./oracle-sites.ts";

type Output = Sum & { products: Set<string> };

/** What the output machines of a factory made. */
function output(asked: Asked, place: OraclePlace, role: string): Output | { lack: string } {
  const machines = place.devices.filter(
    ({ registered }) => registered.kind === "machine" && registered.output === true,
  );
  if (machines.length === 0) return { lack: "no_output" };
  const each = machines.map(({ key }) =>
    asked.columns(key).filter((c) => c.metric.definition.role === role && c.length > 0),
  );
  if (each.some((own) => own.length === 0)) return { lack: "no_register" };
  const all = each.flat().map((column) => {
    const most = Math.max(0, elapsed(asked) - asked.span.lost(column.device.key));
    const own = amount(asked, column);
    return { ...own, covered: Math.min(own.covered, most), product: column.metric.definition.product };
  });
  const told = all.filter((a) => a.told);
  if (told.length === 0) return { lack: "no_data" };
  const { amount: made, estimated, covered, untold } = sumOf(told);
  const products = new Set(told.filter((a) => a.amount > 0n).map(({ product }) => product ?? `of ${place.id}`));
  const partial = told.length < all.length || untold > 0;
  return { amount: made, estimated, covered, due: elapsed(asked) * all.length, partial, products };
}

/** Energy of a good piece, over the factories that have both terms. */
export function unitProduct(asked: Asked, site: OracleSite): OracleFigure {
  const lacks: string[] = [];
  const both: { energy: Sum; made: Output }[] = [];
  let places = 0;
  for (const place of site.places) {
    const energy = comprehensive(asked, place, site.level);
    const made = output(asked, place, "production.good");
    if (energy.lack === "no_meter" && made.lack === "no_output") lacks.push("no_meter");
    else {
      places += 1;
      if (energy.lack === undefined && made.lack === undefined) both.push({ energy, made });
      // What a place lacks for good is told before what a period happens to lack.
      else lacks.push([energy.lack, made.lack].find((lack) => lack !== undefined && lack !== "no_data") ?? "no_data");
    }
  }
  const covered = both.reduce((ms, { energy, made }) => ms + lesser(asked, energy, made), 0);
  const completeness = places > 0 ? ratio(BigInt(covered), BigInt(elapsed(asked)) * BigInt(places)) : null;
  const products = new Set(both.flatMap(({ made }) => [...made.products]));
  const terms = { both, lacks, products: [...products] };
  if (both.length === 0) return nothing(nearest(lacks) ?? "no_meter", completeness, terms);
  if (products.size > 1) return nothing("mixed_products", completeness, terms);
  const sum = (side: "energy" | "made", of: "amount" | "estimated") => both.reduce((all, b) => all + b[side][of], 0n);
  const [kgce, pieces] = [sum("energy", "amount"), sum("made", "amount")];
  if (pieces === 0n) return nothing("no_production", completeness, terms);
  return {
    value: rounded(kgce, pieces * 100_000n, 9),
    reason: null,
    completeness,
    estimatedShare: Math.max(ratio(sum("energy", "estimated"), kgce), ratio(sum("made", "estimated"), pieces)),
    lowerBound: both.some(({ energy, made }) => energy.partial || made.partial),
    terms,
  };
}

/** Pieces that leave a site in an hour. */
export function throughput(asked: Asked, site: OracleSite): OracleFigure {
  const all = site.places.map((place) => output(asked, place, "production.total"));
  const told = all.filter((one): one is Output => one.lack === undefined);
  const lacks = all.flatMap((one) => one.lack ?? []);
  const due = told.length + lacks.filter((lack) => lack !== "no_output").length;
  const covered = told.reduce((ms, one) => ms + lesser(asked, one), 0);
  const completeness = due > 0 ? ratio(BigInt(covered), BigInt(elapsed(asked)) * BigInt(due)) : null;
  if (told.length === 0) return nothing(nearest(lacks) ?? "no_output", completeness);
  const products = new Set(told.flatMap((one) => [...one.products]));
  if (products.size > 1) return nothing("mixed_products", completeness);
  const [made, estimated] = [
    told.reduce((n, one) => n + one.amount, 0n),
    told.reduce((n, one) => n + one.estimated, 0n),
  ];
  return {
    value: rounded(made * BigInt(hour), BigInt(elapsed(asked)) * 1_000_000n, 6),
    reason: null,
    completeness,
    estimatedShare: ratio(estimated, made),
    lowerBound: due > told.length || told.some((one) => one.partial),
    terms: { told },
  };
}
