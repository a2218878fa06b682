/** Words of the page and how numbers and times are written. Names of machines, factories and indicators come with the data. */

export const words = {
  zh: {
    demo: "模拟数据",
    demoLong: "本页所有数字均由模拟设备产生，仅供演示，不代表真实生产",
    simulated: "模拟",
    linked: "数据实时",
    connecting: "正在连接",
    keyNeeded: "需要密钥",
    lost: "连接中断",
    lostLong: (time, age) => `平台无法访问：以下为 ${time} 的旧数据（${age}），不代表现状`,
    lostNever: "平台无法访问，尚未取得任何数据",
    other: "English",
    otherLang: "en",
    keyLabel: "请输入 API 密钥（name.secret）",
    keyButton: "进入",
    keyWrong: "密钥错误或已停用",
    connected: "工厂连接数",
    networked: "设备联网数",
    online: "在线",
    stale: "陈旧",
    offline: "离线",
    never: "从未接入",
    everConnected: "曾接入",
    registered: "登记",
    today: "今日用电量",
    cardToday: "今日用电量",
    hour: "本小时用电量",
    minute: "最近一分钟",
    power: "平均功率",
    kgce: "今日综合能耗",
    ofFactories: (n) => `共登记 ${n} 家`,
    standardCoal: (table) => `折标准煤 ${table}`,
    was: (state) => `当时${state}`,
    live: "实时",
    provisional: "暂定",
    final: "最终",
    revised: (n) => `修订 ${n}`,
    completeness: "完整率",
    lowest: "最低",
    lowerTerm: "有计数未知",
    dataTime: "数据时间",
    estimated: (share) => `含估算 ${share}`,
    lowerBound: "下限值",
    no_data: "无数据",
    todays: "今日",
    todaysRatios: "今日指标",
    kpis: {
      oee: "设备综合效率 OEE",
      "quality.fpy": "一次合格率",
      "quality.scrap_ratio": "报废率",
      "energy.unit_product": "单位产品能耗",
      "carbon.electricity": "用电碳排放",
    },
    kpisShort: {
      oee: "OEE",
      "quality.fpy": "一次合格率",
      "quality.scrap_ratio": "报废率",
      "energy.unit_product": "单耗",
      "carbon.electricity": "碳排放",
    },
    alarms: (n) => `报警 ${n}`,
    alarmsUnknown: (n) => `状态不明 ${n}`,
    alarmsOpen: (n) => `未确认 ${n}`,
    alarmUnknown: "读数中断",
    priorities: { urgent: "紧急", high: "高", medium: "中", low: "低" },
    gateway: "网关",
    gatewayAlive: "在线",
    gatewayDead: "离线",
    since: (time) => `自 ${time}`,
    backlog: (n) => `积压 ${n} 条`,
    dropped: (n) => `丢弃 ${n}`,
    setAside: (n) => `搁置 ${n}`,
    onlineOf: (n, all) => `设备在线 ${n} / ${all}`,
    noReading: "无读数",
    more: (n, off) => (off > 0 ? `另有 ${n} 台，其中 ${off} 台不在线` : `另有 ${n} 台在线`),
    series: "近 30 分钟用电量",
    max: "最大",
    page: (n, all) => `工厂 第 ${n} / ${all} 页`,
    legend: "图例",
    barFull: "完整",
    barHollow: "完整率 < 90%",
    barNone: "无数据",
    registry: "登记版本",
    operator: "运营",
    clock: (rate) => `时钟 ${rate} 倍速`,
    seconds: (n) => `${n} 秒前`,
    minutes: (n) => `${n} 分钟前`,
    hours: (n) => `${n} 小时前`,
    days: (n) => `${n} 天前`,
  },
  en: {
    demo: "SIMULATED DATA",
    demoLong:
      "every figure on this page comes from simulated machines, for demonstration only; it is no real production",
    simulated: "SIM",
    linked: "live",
    connecting: "connecting",
    keyNeeded: "key needed",
    lost: "CONNECTION LOST",
    lostLong: (time, age) => `the platform does not answer: below is old data of ${time} (${age}), not the present`,
    lostNever: "the platform does not answer; no data was received yet",
    other: "中文",
    otherLang: "zh",
    keyLabel: "API key (name.secret)",
    keyButton: "Enter",
    keyWrong: "the key is wrong or withdrawn",
    connected: "Factories",
    networked: "Devices",
    online: "online",
    stale: "stale",
    offline: "offline",
    never: "never connected",
    everConnected: "ever seen",
    registered: "registered",
    today: "Electricity today",
    cardToday: "Today",
    hour: "This hour",
    minute: "Last minute",
    power: "Mean power",
    kgce: "Energy today",
    ofFactories: (n) => `connected of ${n}`,
    standardCoal: (table) => `coal eq. ${table}`,
    was: (state) => `was ${state}`,
    live: "live",
    provisional: "provisional",
    final: "final",
    revised: (n) => `revision ${n}`,
    completeness: "complete",
    lowest: "lowest",
    lowerTerm: "a count is unknown",
    dataTime: "as of",
    estimated: (share) => `${share} estimated`,
    lowerBound: "lower bound",
    no_data: "no data",
    todays: "Today: ",
    todaysRatios: "today's ratios",
    kpis: {
      oee: "OEE",
      "quality.fpy": "first pass yield",
      "quality.scrap_ratio": "scrap ratio",
      "energy.unit_product": "energy per piece",
      "carbon.electricity": "carbon (grid)",
    },
    kpisShort: {
      oee: "OEE",
      "quality.fpy": "FPY",
      "quality.scrap_ratio": "scrap",
      "energy.unit_product": "per piece",
      "carbon.electricity": "CO2",
    },
    alarms: (n) => `Alarms ${n}`,
    alarmsUnknown: (n) => `unknown ${n}`,
    alarmsOpen: (n) => `not acknowledged ${n}`,
    alarmUnknown: "no readings",
    priorities: { urgent: "urgent", high: "high", medium: "medium", low: "low" },
    gateway: "Gateway",
    gatewayAlive: "online",
    gatewayDead: "offline",
    since: (time) => `since ${time}`,
    backlog: (n) => `backlog ${n}`,
    dropped: (n) => `dropped ${n}`,
    setAside: (n) => `set aside ${n}`,
    onlineOf: (n, all) => `devices online ${n} / ${all}`,
    noReading: "no reading",
    more: (n, off) => (off > 0 ? `${n} more, ${off} of them not online` : `${n} more online`),
    series: "Electricity, last 30 min",
    max: "max",
    page: (n, all) => `factories, page ${n} / ${all}`,
    legend: "Legend",
    barFull: "complete",
    barHollow: "complete < 90%",
    barNone: "no data",
    registry: "registry",
    operator: "run by",
    clock: (rate) => `clock ${rate}x`,
    seconds: (n) => `${n} s ago`,
    minutes: (n) => `${n} min ago`,
    hours: (n) => `${n} h ago`,
    days: (n) => `${n} d ago`,
  },
};

const zone = "Asia/Shanghai";
const clockFormat = new Intl.DateTimeFormat("zh-CN", { timeZone: zone, hour12: false, timeStyle: "medium" });
const dateFormat = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short" });

/** 14:32:05 */
export function timeText(timeMs) {
  return clockFormat.format(timeMs);
}

/** 2026-11-22 */
export function dateText(timeMs) {
  return dateFormat.format(timeMs);
}

/** 14:32 */
export function minuteText(timeMs) {
  return timeText(timeMs).slice(0, 5);
}

/** 14:32:05, with the date before it when it is not today. */
export function momentText(timeMs, nowMs) {
  const date = dateText(timeMs);
  return date === dateText(nowMs) ? timeText(timeMs) : `${date.slice(5)} ${timeText(timeMs)}`;
}

/** "12 秒前"; a time slightly ahead of the platform's clock counts as 0 s ago. */
export function ageText(ageMs, t) {
  const seconds = Math.max(0, Math.floor(ageMs / 1000));
  if (seconds < 120) return t.seconds(seconds);
  if (seconds < 7200) return t.minutes(Math.floor(seconds / 60));
  if (seconds < 172_800) return t.hours(Math.floor(seconds / 3600));
  return t.days(Math.floor(seconds / 86_400));
}

/** A decimal string for people: as many places as the eye can use. The exact string stays in the tooltip. */
export function valueText(value, unit) {
  const number = Number(value);
  const places = unit === "1" || unit === "pcs" ? 0 : Math.abs(number) >= 1000 ? 1 : Math.abs(number) >= 10 ? 2 : 3;
  return new Intl.NumberFormat("en-US", { minimumFractionDigits: places, maximumFractionDigits: places }).format(
    number,
  );
}

/** A ratio in percent with two places, without its sign. An OEE above 1 is shown as it is. */
export function percentText(value) {
  return (Number(value) * 100).toFixed(2);
}

/** A share in percent, rounded down: 99.99 % is not complete. */
export function shareText(share) {
  const percent = Math.floor(Math.round(share * 10_000) / 10) / 10;
  // Almost nothing is not nothing.
  if (percent === 0 && share > 0) return "<0.1%";
  return `${Number.isInteger(percent) ? percent : percent.toFixed(1)}%`;
}
