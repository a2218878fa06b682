import type { Language, Text } from "./texts.ts";

/** The one data source. Its uid is fixed: dashboards and alert rules refer to it. */
export const dataSource = { type: "influxdb", uid: "jilian-influxdb" } as const;

/** Folder of the dashboards of a language, and of the alert rules (Chinese). */
export const folders: Record<Language, { uid: string; title: string }> = {
  zh: { uid: "jilian", title: "集联" },
  en: { uid: "jilian-en", title: "Jilian (English)" },
};

export const dashboardNames = ["cluster-wall", "energy", "connectivity"] as const;
export type DashboardName = (typeof dashboardNames)[number];

export const dashboardTitles: Record<DashboardName, Text> = {
  "cluster-wall": { zh: "集群大屏", en: "Cluster wall" },
  energy: { zh: "能耗", en: "Energy" },
  connectivity: { zh: "联网", en: "Connectivity" },
};

/** Grafana's uid of a dashboard, 40 characters at most. Bookmarks and alert links hold it: never changed. */
export function dashboardUid(name: DashboardName, language: Language): string {
  return language === "zh" ? `jilian-${name}` : `jilian-${name}-${language}`;
}

/** Share of readings, and of devices online, below which a figure is marked and an alert is raised (KPI facts: threshold 90 %). */
export const targetShare = 0.9;
