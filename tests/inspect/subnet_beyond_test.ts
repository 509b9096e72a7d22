/** The subnet file against store and plugins. */

import assert from "node:assert/strict";
import { parseCidr4 } from "../../engine/ip.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import { answers, DAEMON, lease, MEMORY, snapshot } from "./known.ts";
import { ENV, inspect, type Scene } from "./scene.ts";

const DIR = "/etc/cni/net.d";

function files(plugin: Readonly<Record<string, unknown>>): Record<string, string> {
  const list = { name: "cbr0", plugins: [{ type: "flannel", ...plugin }, { type: "portmap" }] };
  return {
    "/run/flannel/subnet.env": ENV,
    [`${DIR}/10-flannel.conflist`]: JSON.stringify(list),
    [`${DIR}/00-damaged.conf`]: "{",
    [`${DIR}/05-other.conf`]: '{"type":"bridge"}',
  };
}

const CASES: Readonly<Record<string, readonly [scene: Scene, findings: readonly string[]]>> = {
  "the daemon says the same": [{ status: answers() }, []],
  "its snapshot says the same": [{ files: snapshot() }, []],
  "the lease is another": [
    {
      status: answers({
        ...DAEMON,
        leases: { ...MEMORY, own: { ...lease(1), subnet: parseCidr4("10.244.9.0/24") } },
      }),
    },
    ["FLANNEL_SUBNET lease-differs"],
  ],
  "the network is another": [
    {
      status: answers({
        ...DAEMON,
        leases: {
          ...MEMORY,
          conf: parseNetConf('{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}'),
        },
      }),
    },
    ["FLANNEL_NETWORK network-differs"],
  ],
  "the plugin reads this file": [{ files: files({}) }, []],
  "the plugin reads another file": [
    { files: files({ subnetFile: "/run/other.env" }) },
    [`${DIR}/10-flannel.conflist other-subnet-file`],
  ],
  "the plugin gives pods a larger MTU": [
    { files: files({ delegate: { mtu: 1500 } }) },
    [`${DIR}/10-flannel.conflist delegate-mtu`],
  ],
};

for (const [name, [scene, expected]] of Object.entries(CASES)) {
  Deno.test(`subnet: ${name}`, async () => {
    const outcome = await inspect("subnet -o json", scene);
    const { findings, items } = JSON.parse(outcome.stdout);
    assert.deepEqual(
      findings.map(({ subject, id }: { subject: string; id: string }) => `${subject} ${id}`),
      expected,
    );
    const wrong = items.filter(({ status }: { status: string }) => status === "wrong");
    assert.equal(wrong.length > 0, expected.length > 0);
    assert.equal(outcome.code, expected.length > 0 ? 1 : 0);
  });
}

Deno.test("subnet: rows of store and plugins", async (t) => {
  const outcome = await inspect("subnet", { status: answers(), files: files({}) });
  await t.assertSnapshot(outcome.stdout);
});
