import assert from "node:assert/strict";
import { type GateOptions, plan } from "../../tools/gate.ts";

const TESTS = [
  "tests/borders_test.ts",
  "tests/engine/ip_test.ts",
  "tests/kernel/link_test.ts",
  "tests/lab/lab_test.ts",
  "tests/lab/k8s/twill_test.ts",
];
const DOCS = ["engine/ip.ts"];
const ROOT: GateOptions = { filters: [], root: true, k8s: true, reports: "/r" };

/** Step names with the files of each. */
function stepsOf(options: GateOptions, tests = TESTS): Record<string, string[]> {
  const { steps } = plan(tests, DOCS, options);
  return Object.fromEntries(
    steps.map(({ name, command }) => [name, command.filter((word) => word.endsWith(".ts"))]),
  );
}

Deno.test("plan: as root every kind of test has its step, each file in one of them", () => {
  assert.deepEqual(stepsOf(ROOT), {
    fmt: [],
    lint: [],
    check: [],
    unit: ["tests/borders_test.ts", "tests/engine/ip_test.ts"],
    doc: ["engine/ip.ts"],
    kernel: ["tests/kernel/link_test.ts"],
    lab: ["tests/lab/lab_test.ts"],
    k8s: ["tests/lab/k8s/twill_test.ts"],
  });
});

Deno.test("plan: kernel and lab tests run isolated, and nothing else does", () => {
  const wants: Record<string, string> = {
    kernel: "tools/isolate",
    lab: "tools/isolate",
    k8s: "tests/lab/k8s/alone",
  };
  for (const { name, command } of plan(TESTS, DOCS, ROOT).steps) {
    assert.equal(command[0], wants[name] ?? "deno", name);
  }
});

Deno.test("plan: without Kubernetes its lab is left out, which CI counts as a failure", () => {
  const { steps, skipped } = plan(TESTS, DOCS, { ...ROOT, k8s: false });
  assert.ok(!steps.some(({ name }) => name === "k8s"));
  assert.deepEqual(skipped.map(({ name, hole }) => [name, hole]), [["k8s", true]]);
  assert.match(skipped[0]?.why ?? "", /tools\/lab k8s --build/);
});

Deno.test("plan: without root the kernel and lab tests are left out, and it says why", () => {
  const { skipped } = plan(TESTS, DOCS, { ...ROOT, root: false });
  assert.deepEqual(skipped.map(({ name, hole }) => [name, hole]), [
    ["kernel", true],
    ["lab", true],
    ["k8s", true],
  ]);
  assert.ok(skipped.every(({ why }) => why.includes("sudo tools/test")));
  assert.deepEqual(Object.keys(stepsOf({ ...ROOT, root: false })), [
    "fmt",
    "lint",
    "check",
    "unit",
    "doc",
  ]);
});

Deno.test("plan: a filter picks files by path and leaves the static checks out", () => {
  assert.deepEqual(stepsOf({ ...ROOT, filters: ["engine/ip", "lab"] }), {
    unit: ["tests/engine/ip_test.ts"],
    doc: ["engine/ip.ts"],
    lab: ["tests/lab/lab_test.ts"],
    k8s: ["tests/lab/k8s/twill_test.ts"],
  });
});

Deno.test("plan: types of tests are checked by the check step, or by the test run if there is none", () => {
  const noCheck = (options: GateOptions): (string | undefined)[] =>
    plan(TESTS, [], options).steps.filter(({ report }) => report)
      .map(({ command }) => command.find((word) => word === "--no-check"));
  assert.ok(noCheck(ROOT).every((word) => word === "--no-check"));
  assert.ok(noCheck({ ...ROOT, filters: ["tests"] }).every((word) => word === undefined));
});

Deno.test("plan: a kind without tests is said, not run", () => {
  const { steps, skipped } = plan(TESTS.slice(0, 2), [], ROOT);
  assert.deepEqual(steps.map(({ name }) => name), ["fmt", "lint", "check", "unit"]);
  assert.deepEqual(skipped.map(({ name }) => name), ["doc", "kernel", "lab", "k8s"]);
  assert.ok(skipped.every(({ hole }) => !hole));
});
