import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  type DashboardLink,
  DashboardLinkBuilder,
  DashboardLinkType,
  type Panel,
  QueryVariableBuilder,
  TimePickerBuilder,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { timeZone } from "@jilian/domain/periods.ts";
import { clusterWallPanels } from "./cluster-wall.ts";
import { connectivityPanels } from "./connectivity.ts";
import { energyPanels } from "./energy.ts";
import { factoriesQuery, factoryVariable } from "./influxql.ts";
import { type DashboardName, dashboardTitles, dashboardUid, dataSource } from "./names.ts";
import { type Language, languages, type Say, sayIn } from "./texts.ts";

type Sheet = { panels: (say: Say) => Panel[]; from: string; refresh: string; wall: boolean };

const sheets: Record<DashboardName, Sheet> = {
  "cluster-wall": { panels: clusterWallPanels, from: "now-24h", refresh: "30s", wall: true },
  energy: { panels: energyPanels, from: "now-7d", refresh: "1m", wall: false },
  connectivity: { panels: connectivityPanels, from: "now-6h", refresh: "1m", wall: false },
};

const tagOf = (language: Language) => `jilian-${language}`;

/** Links to the dashboards of a language, by their tag. In plain sight: the builder would put them into a menu. */
function links(language: Language): Builder<DashboardLink>[] {
  const link = (to: Language, title: string, dropdown: boolean): Builder<DashboardLink> => {
    const builder = new DashboardLinkBuilder(title)
      .type(DashboardLinkType.Dashboards)
      .tags([tagOf(to)])
      .asDropdown(dropdown)
      .keepTime(true);
    const { placement: _, ...rest } = builder.build();
    return { build: () => rest };
  };
  const other = languages.find((name) => name !== language) as Language;
  return [link(language, "", false), link(other, other === "en" ? "English" : "中文", true)];
}

/** The choice of factories; "all" is a pattern, so that a query does not grow with their number. */
function factoryChoice(say: Say): QueryVariableBuilder {
  return new QueryVariableBuilder(factoryVariable)
    .label(say({ zh: "工厂", en: "Factory" }))
    .datasource({ ...dataSource })
    .query({ query: factoriesQuery, refId: "factories" })
    .definition(factoriesQuery)
    .multi(true)
    .includeAll(true)
    .allValue(".*")
    .current({ selected: true, text: [say({ zh: "全部", en: "All" })], value: ["$__all"] })
    .refresh(VariableRefresh.OnDashboardLoad)
    .sort(VariableSort.AlphabeticalAsc);
}

/** A dashboard as Grafana's file provisioning reads it: JSON model v1, schema 42. */
export function makeDashboard(name: DashboardName, language: Language): Dashboard {
  const say = sayIn(language);
  const { panels, from, refresh, wall } = sheets[name];
  const builder = new DashboardBuilder(say(dashboardTitles[name]))
    .uid(dashboardUid(name, language))
    .description(`${dashboardTitles[name].zh} / ${dashboardTitles[name].en}`)
    .tags(["jilian", tagOf(language)])
    .timezone(timeZone)
    .weekStart("monday")
    .time({ from, to: "now" })
    .refresh(refresh)
    .readonly()
    .tooltip(wall ? DashboardCursorSync.Off : DashboardCursorSync.Crosshair);
  // Kiosk mode shows variables and links: the wall has none.
  if (wall) builder.timepicker(new TimePickerBuilder().hidden(true));
  else builder.links(links(language)).withVariable(factoryChoice(say));
  for (const panel of panels(say)) builder.withPanel({ build: () => panel });
  return builder.build();
}
