/** The probes: flannel's paths, codes and first lines. */

import assert from "node:assert/strict";
import { answerProbe } from "../../daemon/health.ts";

const READY = { reasons: [], remarks: [] };
const WAITING = { reasons: ["waiting for a lease"], remarks: ["2 bad records"] };

for (
  const [path, health, status, body] of [
    ["/healthz", WAITING, 200, "flanneld is running"],
    ["/readyz", READY, 200, "flanneld is ready"],
    ["/readyz", WAITING, 503, "flanneld is not ready yet\nwaiting for a lease\n2 bad records"],
    ["/readyz", { ...READY, remarks: ["r"] }, 200, "flanneld is ready\nr"],
    ["/metricz", READY, 404, "not found"],
  ] as const
) {
  Deno.test(`answerProbe: ${path} ${status} ${JSON.stringify(health)}`, async () => {
    const response = answerProbe(path, health, () => "");
    assert.equal(response.status, status);
    assert.equal(await response.text(), body);
  });
}

Deno.test("answerProbe: /readyz as JSON when it is asked for", async () => {
  const response = answerProbe("/readyz", WAITING, () => "", true);
  assert.equal(response.status, 503);
  assert.deepEqual(await response.json(), { ready: false, ...WAITING });
  const ready = answerProbe("/readyz", READY, () => "", true);
  assert.deepEqual([ready.status, await ready.json()], [200, { ready: true, ...READY }]);
});
