import assert from "node:assert/strict";
import { addedPod } from "../../cni/pod_names.ts";
import type { Result } from "../../cni/result.ts";
import { parseInet } from "../../engine/ip.ts";

const RESULT = {
  ips: [{ address: parseInet("10.244.1.7/24") }, { address: parseInet("fd00::7/64") }],
} as unknown as Result;

Deno.test("addedPod: the names that a kubelet's runtime gives, whatever stands beside them", () => {
  const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=x;K8S_POD_NAME=a-1;K8S_POD_UID=u;FOO=bar";
  assert.deepEqual(addedPod(args, RESULT), {
    namespace: "x",
    name: "a-1",
    uid: "u",
    ips: ["10.244.1.7", "fd00::7"],
  });
  const without = "K8S_POD_NAMESPACE=x;K8S_POD_NAME=a-1";
  assert.equal(addedPod(without, RESULT)?.uid, "");
});

Deno.test("addedPod: what is no pod of Kubernetes is none", () => {
  for (const args of ["", "IP=10.0.0.1", "K8S_POD_NAME=a", "K8S_POD_NAMESPACE=x"]) {
    assert.equal(addedPod(args, RESULT), undefined, args);
  }
});
