import { describe, expect, it } from "vitest";
import { counter, flag, gauge, renderMetrics } from "./metric-rows.ts";
import { readExposition } from "./test-prometheus.ts";

describe("metrics as text", () => {
  it("are what Prometheus reads, whatever stands in labels and help", () => {
    const odd = 'a "quoted" \\ back\nslash';
    const rows = [
      gauge("jilian_x_up", "First line\nand \\ second.", () => flag(true)),
      counter("jilian_x_seen_total", "Seen.", () => [
        { labels: { gateway: odd, kind: "live" }, value: 3 },
        { labels: { gateway: "b", kind: "live" }, value: 1e21 },
      ]),
      gauge("jilian_x_age_seconds", "Age.", () => [
        { labels: { at: "a" }, value: Number.POSITIVE_INFINITY },
        { labels: { at: "b" }, value: Number.NEGATIVE_INFINITY },
        { labels: { at: "c" }, value: Number.NaN },
      ]),
      gauge("jilian_x_none", "Nothing to tell.", () => []),
    ];
    const text = renderMetrics(rows);
    expect(text).toBe(`# HELP jilian_x_up First line\\nand \\\\ second.
# TYPE jilian_x_up gauge
jilian_x_up 1
# HELP jilian_x_seen_total Seen.
# TYPE jilian_x_seen_total counter
jilian_x_seen_total{gateway="a \\"quoted\\" \\\\ back\\nslash",kind="live"} 3
jilian_x_seen_total{gateway="b",kind="live"} 1e+21
# HELP jilian_x_age_seconds Age.
# TYPE jilian_x_age_seconds gauge
jilian_x_age_seconds{at="a"} +Inf
jilian_x_age_seconds{at="b"} -Inf
jilian_x_age_seconds{at="c"} NaN
`);
    const scrape = readExposition(text);
    expect(scrape.value("jilian_x_up")).toBe(1);
    expect(scrape.value('jilian_x_seen_total{gateway="b",kind="live"}')).toBe(1e21);
    expect(scrape.typeOf("jilian_x_none")).toBeUndefined();
    expect(renderMetrics([])).toBe("");
  });
});

describe("the strict reader", () => {
  const head = "# HELP a_total A.\n# TYPE a_total counter\n";
  it.each([
    ["a line that is none", `${head}a_total\n`],
    ["a sample without its family", "a_total 1\n"],
    ["a series twice", `${head}a_total{x="1",y="2"} 1\na_total{y="2",x="1"} 2\n`],
    ["a family twice", `${head}a_total 1\n${head}`],
    ["a value that is none", `${head}a_total one\n`],
    ["a quote that is not escaped", `${head}a_total{x="a"b"} 1\n`],
    ["a counter that is negative", `${head}a_total -1\n`],
    ["no end of the last line", `${head}a_total 1`],
    [
      "a histogram without its last bucket",
      '# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
    ],
  ])("refuses %s", (_what, text) => {
    expect(() => readExposition(text)).toThrow();
  });
});
