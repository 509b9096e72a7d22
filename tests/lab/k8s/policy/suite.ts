/**
 * NetworkPolicy in one kind of cluster.
 *
 * @module
 */

import assert from "node:assert/strict";
import { percentiles } from "../../../bench/table.ts";
import { CASES } from "../../../engine/policy/cases.ts";
import { note } from "../../notes.ts";
import { Cluster, type ClusterOptions } from "../cluster.ts";
import { TwillService } from "../networks.ts";
import { Arena } from "./arena.ts";
import { nodePorts, nodesAndHostPods } from "./hosts.ts";
import { grace, oddPolicy, reuse } from "./lives.ts";
import { inspected } from "./looks.ts";
import * as platform from "./platform.ts";
import { row } from "./rows.ts";
import { modes, outage, refused, unknownPods } from "./troubles.ts";

const FULL = Deno.env.get("TWILL_FULL") !== undefined;
/** Rows that the gate tries with policies before pods. */
const SELECTION = ["C01"];

/** The lists that the daemon reads. */
const RESOURCES = ["pods", "namespaces", "networkpolicies"];

/** Registers the tests; they share a cluster of two nodes. */
export function policySuite(kind: Required<Pick<ClusterOptions, "families" | "proxy">>): void {
  const words = `kube-proxy with ${kind.proxy}, ${kind.families}`;
  let arena: Arena;
  const owned = new AsyncDisposableStack();

  Deno.test.beforeAll(async () => {
    const cluster = await Cluster.create({ nodes: 2, network: new TwillService(), ...kind });
    owned.use(cluster);
    arena = owned.use(await Arena.create(cluster));
  });

  Deno.test.afterAll(() => owned.disposeAsync());

  /** A test that begins without policies. The agents are those of the test before. */
  function policyTest(name: string, fn: () => Promise<void>): void {
    Deno.test({
      name: `k8s: policy (${words}) ${name}`,
      sanitizeOps: false,
      sanitizeResources: false,
      fn: async () => {
        await arena.reset();
        await fn();
      },
    });
  }

  for (const one of CASES) {
    policyTest(`${one.id}: ${one.title}`, () => row(arena, one, "pods first"));
  }

  for (const one of CASES.filter(({ id }) => FULL || SELECTION.includes(id))) {
    policyTest(
      `${one.id}, policies before pods: ${one.title}`,
      () => row(arena, one, "policies first"),
    );
  }

  policyTest("P26: a new pod is covered before its first packet", async () => {
    await platform.firstPackets(arena, FULL ? 10 : 3);
  });

  policyTest("P04: the kubelet's probes pass", () => platform.kubeletProbes(arena));

  policyTest("P09, P10: behind a Service the pod's port counts", () => platform.services(arena));

  policyTest("P33: a namespace made anew has its new labels", () => platform.namespaceAnew(arena));

  policyTest("P27: a pod that is being deleted still is a target and a peer", () => grace(arena));

  policyTest("P28: an address is not inherited from a pod that has completed", () => reuse(arena));

  policyTest("P34: a policy that cannot be enforced as written closes its targets", async () => {
    await oddPolicy(arena);
  });

  policyTest("inspect policy tells of a real cluster what is true", () => inspected(arena));

  policyTest("pods that the API does not have are closed, with a daemon and without", async () => {
    await unknownPods(arena);
  });

  if (FULL) {
    policyTest("P30, P32: the API is away, and pods are added", () => outage(arena, 60));

    policyTest("P01 to P03, P07, P08, P11: nodes and pods with their network", async () => {
      await nodesAndHostPods(arena);
    });

    policyTest("P14, P15: ports of nodes", () => nodePorts(arena));
  }

  policyTest("a list that the API refuses is told, and what stands remains", async () => {
    await refused(arena, FULL ? RESOURCES : RESOURCES.slice(2));
  });

  policyTest("--network-policy: on and off, with rights and without", () => modes(arena));

  policyTest(
    "P29 to P31: changes under load, daemons killed: nothing lost, nothing leaked",
    async () => {
      note(await platform.flood(arena, FULL ? 200 : 60));
    },
  );

  policyTest("a write to the API is in the kernel within a moment", async () => {
    for (const [name, values] of await platform.latencies(arena)) {
      const [p50, p90, p99] = percentiles(values);
      note(
        `${name}, write to kernel: p50 ${p50.toFixed(1)}, p90 ${p90.toFixed(1)}, p99 ${
          p99.toFixed(1)
        } ms`,
      );
      assert.ok(p50 < 200, "ten times of what we want");
    }
  });

  policyTest("P37: uninstall leaves no rules", () => platform.uninstalled(arena));
}
