/** The dashboard and the alert rules ask for metrics, and for labels, that the daemon has. */

import assert from "node:assert/strict";
import { load } from "js-yaml";
import { metricsText } from "../../daemon/metrics.ts";
import { LATENCY_BOUNDS } from "../../daemon/state.ts";

const DEPLOY = new URL("../../deploy/", import.meta.url);

/** Metrics and their labels, of a page on which everything is. */
const served: ReadonlyMap<string, ReadonlySet<string>> = (() => {
  const page = metricsText({
    ready: true,
    counts: {
      passes: { whole: 1, changed: 1 },
      drift: new Map([["route", 1]]),
      latency: { buckets: LATENCY_BOUNDS.map(() => 1), sum: 1, count: 1 },
    },
    report: undefined,
    store: { connected: true, bad: 0, gaps: 0, leaseEnds: 60_000 },
    packets: { sent: 1 },
    now: 0,
    version: "1",
    commit: "c",
  });
  const found = new Map<string, Set<string>>();
  for (const [, name = "", labels = ""] of page.matchAll(/^(twill_\w+)(?:\{(.*)\})? /gm)) {
    const names = [...labels.matchAll(/(\w+)="/g)].map(([, label = ""]) => label);
    found.set(name, new Set([...found.get(name) ?? [], ...names]));
  }
  return found;
})();

/** Labels that Prometheus adds to whatever it scrapes. */
const ADDED = ["instance", "job"];

/** What an expression asks for must be there. */
function check(expression: string): void {
  const metrics = [...expression.matchAll(/\b(twill_\w+)(?:\{([^}]*)\})?/g)];
  assert.ok(metrics.length > 0, `no metric of ours in ${expression}`);
  for (const [, name = "", selector = ""] of metrics) {
    const labels = served.get(name);
    assert.ok(labels !== undefined, `${name} in ${expression}`);
    for (const [, label = ""] of selector.matchAll(/(\w+)(?:=|!)/g)) {
      assert.ok(labels.has(label) || ADDED.includes(label), `${label} of ${name}`);
    }
  }
  const known = new Set([
    ...metrics.flatMap(([, name = ""]) => [...served.get(name) ?? []]),
    ...ADDED,
  ]);
  for (const [, list = ""] of expression.matchAll(/\bby \(([^)]*)\)/g)) {
    for (const label of list.split(",")) {
      assert.ok(known.has(label.trim()), `${label} in ${expression}`);
    }
  }
  const count = (char: string): number => expression.split(char).length;
  for (const [open, close] of ["()", "{}", "[]"]) {
    assert.equal(count(open!), count(close!), `brackets of ${expression}`);
  }
}

interface Rules {
  readonly groups: readonly {
    readonly name: string;
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly for?: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly annotations: Readonly<Record<string, string>>;
    }[];
  }[];
}

Deno.test("alerts.yaml: rules of Prometheus' form, about metrics that are served", () => {
  const { groups } = load(Deno.readTextFileSync(new URL("alerts.yaml", DEPLOY))) as Rules;
  const rules = groups.flatMap((group) => group.rules);
  assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const rule of rules) {
    const allowed = ["alert", "expr", "for", "labels", "annotations"];
    assert.deepEqual(Object.keys(rule).filter((key) => !allowed.includes(key)), []);
    assert.match(rule.alert, /^Twill[A-Z]\w+$/);
    assert.match(rule.for ?? "1m", /^\d+[smh]$/);
    assert.match(rule.labels["severity"] ?? "", /^(?:warning|critical)$/);
    assert.deepEqual(Object.keys(rule.annotations), ["summary", "description"]);
    check(rule.expr);
  }
});

interface Dashboard {
  readonly title: string;
  readonly uid: string;
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly gridPos: {
      readonly x: number;
      readonly y: number;
      readonly w: number;
      readonly h: number;
    };
    readonly targets: readonly { readonly refId: string; readonly expr: string }[];
  }[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
}

Deno.test("dashboard.json: panels that fit, about metrics that are served, and no metric is left out", () => {
  const board = JSON.parse(Deno.readTextFileSync(new URL("dashboard.json", DEPLOY))) as Dashboard;
  const { panels } = board;
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = new Set<string>();
  for (const { title, gridPos: { x, y, w, h }, targets } of panels) {
    assert.ok(x + w <= 24, `${title} is too wide`);
    for (let i = x; i < x + w; i++) {
      for (let j = y; j < y + h; j++) {
        assert.ok(!cells.has(`${i},${j}`), `${title} lies over another panel`);
        cells.add(`${i},${j}`);
      }
    }
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length);
    for (const { expr } of targets) check(expr);
  }
  const all = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join("\n");
  const variables = new Set([...all.matchAll(/\$([a-z]\w*)/g)].map(([, name]) => name));
  const defined = board.templating.list.map(({ name }) => name);
  assert.deepEqual([...variables].filter((name) => !defined.includes(name!)), []);
  const unused = [...served.keys()].filter((name) => !all.includes(name));
  assert.deepEqual(unused, ["twill_apply_seconds_sum", "twill_apply_seconds_count"]);
});
