/**
 * The networks of the churn: one by bridge and iptables, one by flannel and nftables, both with
 * host ports and fewer addresses than pods.
 *
 * @module
 */

import type { BridgeNode, Json } from "./bridge_rows.ts";

/** One plugin of a chain. */
export interface ChainPlugin {
  readonly type: string;
  /** Its document for a pod; `ipam` is the plugin that hands out addresses. */
  readonly config: (node: BridgeNode, ipam: string, slot: number) => Json;
}

/** One network. */
export interface Network {
  readonly name: string;
  readonly bridge: string;
  readonly plugins: readonly ChainPlugin[];
}

function portmap(name: string, backend: string): ChainPlugin {
  return {
    type: "portmap",
    config: (_node, _ipam, slot) => ({
      cniVersion: "1.1.0",
      name,
      type: "portmap",
      backend,
      runtimeConfig: {
        portMappings: [{
          hostPort: 20_000 + slot,
          containerPort: 80,
          protocol: slot % 2 === 0 ? "tcp" : "udp",
        }],
      },
    }),
  };
}

/** See the module. */
export const NETWORKS: readonly Network[] = [
  {
    name: "churn-a",
    bridge: "chra",
    plugins: [
      {
        type: "bridge",
        config: ({ dataDir }, type) => ({
          cniVersion: "1.1.0",
          name: "churn-a",
          type: "bridge",
          bridge: "chra",
          isDefaultGateway: true,
          ipMasq: true,
          ipMasqBackend: "iptables",
          macspoofchk: true,
          ipam: { type, dataDir, subnet: "10.20.0.0/29" },
        }),
      },
      portmap("churn-a", "iptables"),
    ],
  },
  {
    name: "churn-b",
    bridge: "chrb",
    plugins: [
      {
        type: "flannel",
        config: ({ dir, dataDir }, type) => ({
          cniVersion: "1.1.0",
          name: "churn-b",
          type: "flannel",
          dataDir: `${dir}/flannel`,
          subnetFile: `${dir}/subnet.env`,
          ipam: { type, dataDir },
          delegate: {
            bridge: "chrb",
            isDefaultGateway: true,
            hairpinMode: true,
            ipMasqBackend: "nftables",
          },
        }),
      },
      portmap("churn-b", "nftables"),
    ],
  },
];

/** What the daemon would have written for `churn-b`. */
const SUBNET_ENV = `FLANNEL_NETWORK=10.21.0.0/16
FLANNEL_SUBNET=10.21.0.1/29
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
`;

/**
 * host-local with moods, as `$FLAKY` says: it fails before it did anything, or after, or its answer
 * is none.
 */
const FLAKY_IPAM = `#!/bin/sh
real=\${CNI_PATH%%:*}/host-local
no='{"code":11,"msg":"not today","details":"the injected failure"}'
case $FLAKY in
before) echo "$no"; exit 1 ;;
after) "$real" >/dev/null; echo "$no"; exit 1 ;;
garbage) "$real" | tr '{' '<'; [ "$CNI_COMMAND" != DEL ] ;;
*) exec "$real" ;;
esac
`;

/** Makes what the networks read. */
export function prepareNetworks({ dir }: BridgeNode): void {
  Deno.writeTextFileSync(`${dir}/subnet.env`, SUBNET_ENV);
  Deno.writeTextFileSync(`${dir}/fakes/ipam-flaky`, FLAKY_IPAM, { mode: 0o755 });
}
