import assert from "node:assert/strict";
import { sum, tally } from "../../tools/junit.ts";

/** What `deno test --junit-path` 2.9.4 wrote, shortened. */
const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="7" failures="3" errors="0" time="0.033">
    <testsuite name="./tests/a_test.ts" tests="7" disabled="2" errors="0" failures="3">
        <testcase name="leak" classname="./tests/a_test.ts" time="0.001" line="1" col="6">
            <failure message="Leaks detected">Leaks detected: &lt;skipped/&gt;</failure>
        </testcase>
        <testcase name="ign" classname="./tests/a_test.ts" time="0.000" line="3" col="6">
            <skipped/>
        </testcase>
        <testcase name="bad" classname="./tests/a_test.ts" time="0.002" line="4" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="ok &gt; &#34;x&#34; &amp; y" classname="./tests/a_test.ts" time="0.000">
        </testcase>
        <testcase name="ok" classname="./tests/a_test.ts" time="0.000" line="5" col="6">
        </testcase>
        <testcase name="bad &gt; s2" classname="./tests/a_test.ts" time="0.000" line="4" col="69">
            <failure message="Uncaught Error: boo">Error: boo</failure>
        </testcase>
        <testcase name="ok &gt; left out" classname="./tests/a_test.ts" time="0.000" line="5" col="40">
            <skipped/>
        </testcase>
        <testcase name="a &gt; b, no step" classname="./tests/a_test.ts" time="0.000">
        </testcase>
    </testsuite>
</testsuites>
`;

Deno.test("tally: counts tests, not steps, and names what failed or was ignored", () => {
  assert.deepEqual(tally(REPORT), {
    passed: 2,
    failed: ["tests/a_test.ts: leak", "tests/a_test.ts: bad"],
    ignored: ["tests/a_test.ts: ign", "tests/a_test.ts: ok > left out"],
  });
});

Deno.test("tally: a report that was cut off gives what it holds", () => {
  assert.deepEqual(tally(""), { passed: 0, failed: [], ignored: [] });
  const cut = REPORT.slice(0, REPORT.indexOf(`<testcase name="ign"`) + 5);
  assert.deepEqual(tally(cut), { passed: 0, failed: ["tests/a_test.ts: leak"], ignored: [] });
});

Deno.test("sum: adds and keeps the names", () => {
  const one = { passed: 1, failed: ["a"], ignored: [] };
  const two = { passed: 2, failed: [], ignored: ["b"] };
  assert.deepEqual(sum([one, two]), { passed: 3, failed: ["a"], ignored: ["b"] });
  assert.deepEqual(sum([]), { passed: 0, failed: [], ignored: [] });
});
