/** Three nodes without any server: each reads the same file. */

import assert from "node:assert/strict";
import { device, fdb } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT } from "./node.ts";
import { subnetEnv } from "./rows_setup.ts";

const FILE = "/etc/twill/leases.yaml";

/** With the largest packet that the wire of 9000 bytes lets through. */
const PING = ["ping", "-c1", "-W5", "-M", "do", "-s", String(8950 - 28)] as const;

/** The file that all nodes get; subnets are not in the order of the addresses. */
function leaseFile({ nodes }: Lab): string {
  const entries = nodes.map(({ name, address }, i) =>
    `  - name: ${name}\n    publicIP: ${address}\n    subnet: 10.244.${40 - i}.0/24\n`
  );
  const config = "config:\n  Network: 10.244.0.0/16\n  Backend: { Type: vxlan }\n";
  return `${config}nodes:\n${entries.join("")}`;
}

Deno.test("lease file: pods on three nodes reach each other without a store", async () => {
  await using lab = await Lab.create({ mtu: 9000, network: false, outside: false });
  const { nodes } = lab;
  try {
    for (const node of nodes) {
      await node.must(["mkdir", "/etc/twill"]);
      node.write(FILE, leaseFile(lab));
    }
    const health = `--healthz-port=${HEALTH_PORT}`;
    await lab.startDaemons([`--lease-file=${FILE}`, "--iface=eth0", "--ip-masq", health]);

    const macs = await Promise.all(
      nodes.map(async (node) => (await device(node, "flannel.1"))?.address),
    );
    for (const [i, node] of nodes.entries()) {
      const { FLANNEL_SUBNET, FLANNEL_MTU } = subnetEnv(node);
      assert.deepEqual([FLANNEL_SUBNET, FLANNEL_MTU], [`10.244.${40 - i}.1/24`, "8950"]);
      const seen = (await fdb(node, "flannel.1")).map(({ mac, dst }) => `${mac} ${dst}`).sort();
      const want = nodes.flatMap(({ address }, j) => i === j ? [] : [`${macs[j]} ${address}`]);
      assert.deepEqual(seen, want.sort(), `what ${node.name} knows of the others`);
    }

    const pods = await Promise.all(nodes.map((node) => node.addPod("pod")));
    for (const node of nodes) {
      for (const { ip } of pods) {
        const { code, stdout } = await node.execInPod("pod", [...PING, ip]);
        assert.equal(code, 0, `from ${node.name} to ${ip}:\n${stdout}`);
      }
    }
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});
