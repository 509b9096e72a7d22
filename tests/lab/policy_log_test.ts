/**
 * What policies drop, as `inspect policy log` tells it: real packets, the kernel's own word.
 */

import assert from "node:assert/strict";
import { compile } from "../../engine/policy/compile.ts";
import { wholeText } from "../../engine/policy/render.ts";
import { policyTable } from "../../engine/policy/table.ts";
import { policyObject, Scene } from "../engine/policy/language.ts";
import { readCluster } from "../engine/policy/nodes.ts";
import { TWILL } from "./node.ts";
import { Field } from "./policy/field.ts";

const [A, B] = ["x/a", "y/b"] as const;

Deno.test({
  name: "policy log: drops of both directions and families, the policy named; nothing is left",
  sanitizeOps: false,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "twill-policy-log-" });
    const scene = new Scene();
    const ips = (name: string): string[] =>
      scene.pods.get(name)?.status?.podIPs?.map(({ ip }) => ip ?? "") ?? [];
    const field = await Field.create(folder, [
      { name: A, node: 1, ips: ips(A) },
      { name: B, node: 2, ips: ips(B) },
    ]);
    try {
      const cluster = readCluster({
        namespaces: [...scene.namespaces.values()],
        pods: [...scene.pods.values()],
        policies: [
          policyObject("x/in on pod=a types Ingress; in: any peer @ TCP/80"),
          policyObject("x/out on pod=a types Egress; out: any peer @ TCP/80"),
        ],
      });
      const options = { table: policyTable(""), ping: false };
      await field.nft(1, wholeText({ ...compile(cluster, "node1"), options, generation: 9 }));
      const { space } = field.node(1);
      const flows = [
        [B, A, 0, "ingress x/in"],
        [A, B, 0, "egress x/out"],
        [B, A, 1, "ingress x/in"],
      ] as const;
      let ended = false;
      const log = space.exec(
        [TWILL, "inspect", "policy", "log", "-f", "-o", "json", "--count", "12"],
        { seconds: 60 },
      ).finally(() => ended = true);
      // It listens some time after its start: packets are sent until it has told of so many.
      while (!ended) {
        for (const [from, to, family] of flows) {
          const ip = ips(to)[family]!;
          assert.equal(await field.pod(from).reaches(ip, 80, true), true, "what is allowed passes");
          await field.pod(from).reaches(ip, 81, false);
        }
      }
      const { stdout, stderr } = await log;
      const told = stdout.trim().split("\n").map((text) => {
        const { source, destination, protocol, direction, policies } = JSON.parse(text);
        return [
          `${source.address} > ${destination.address} ${protocol} ${destination.port}:`,
          `${direction} ${policies.join()}`,
        ].join(" ");
      });
      assert.equal(told.length, 12, stderr);
      assert.deepEqual(
        [...new Set(told)].sort(),
        flows.map(([from, to, family, why]) =>
          `${ips(from)[family]} > ${ips(to)[family]} TCP 81: ${why}`
        ).sort(),
      );
      const counts = JSON.parse(
        (await space.exec([TWILL, "inspect", "policy", "log", "-o", "json"])).stdout,
      );
      assert.deepEqual(
        counts.items.filter((one: { packets: number }) => one.packets > 0)
          .map((one: { policies: string[] }) => one.policies.join()).sort(),
        ["x/in", "x/out"],
      );
      assert.doesNotMatch(await space.must(["nft", "list", "tables"]), /twill-drops/);
    } finally {
      await field[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    }
  },
});
