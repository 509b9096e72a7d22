/**
 * Faults of a node's kernel: what administrators, NetworkManager, firewalls and hardware do to it.
 *
 * @module
 */

import type { Fault } from "./catalogue.ts";
import type { Lease } from "./oracle.ts";
import type { Scene } from "./scene.ts";

/** The peer's gateway: the base address of its subnet. */
function gateway({ subnet }: Lease): string {
  return subnet.split("/")[0] as string;
}

/** A fault of some peer's entries, which no packet of the pods needs. */
function entry(kind: string, request: (peer: Lease, scene: Scene) => readonly string[]): Fault {
  return {
    kind,
    weight: 1,
    bites: "stopped",
    happen: async (scene) => {
      const [program, ...args] = request(scene.random.pick(scene.peers), scene);
      await scene.victim.must([program as string, ...args]);
    },
  };
}

/** A fault of the device or of everything on it. */
function shared(kind: string, weight: number, ...requests: readonly string[]): Fault {
  return {
    kind,
    weight,
    bites: "stopped",
    costs: true,
    happen: async (scene) => {
      for (const request of requests) await scene.victim.must(["sh", "-ec", request]);
    },
  };
}

/** Devices. */
export const deviceFaults: readonly Fault[] = [
  shared("flannel.1 deleted", 3, "ip link delete flannel.1"),
  shared("flannel.1 set down", 2, "ip link set flannel.1 down"),
  shared("flannel.1 down and up", 2, "ip link set flannel.1 down; ip link set flannel.1 up"),
  shared("flannel.1 has another MAC", 1, "ip link set flannel.1 address 02:aa:bb:cc:dd:ee"),
  shared("flannel.1 has another MTU", 1, "ip link set flannel.1 mtu 1400"),
  shared("flannel.1 has lost its address", 1, "ip address flush dev flannel.1"),
  {
    kind: "flannel.1 made anew by another hand",
    weight: 1,
    bites: "itself",
    costs: true,
    happen: async (scene) => {
      // The daemon would be faster than that hand.
      scene.freeze();
      await scene.victim.ip(
        "link delete flannel.1",
        "link add flannel.1 type vxlan id 7 dstport 4789 dev eth0",
      );
      await scene.mustBite("made anew");
      scene.thaw();
    },
  },
  {
    // With the link down its routes go; who owns them (here: we) sets them again.
    kind: "eth0 down and up",
    weight: 2,
    bites: "stopped",
    costs: true,
    happen: async ({ victim }) => {
      const down =
        "ip link set eth0 down; ip link set eth0 up; ip route add default via 192.168.200.1";
      // What a flap costs the overlay itself is seen where an address goes with it.
      await victim.must(["sh", "-ec", `${down}; ip route flush dev flannel.1`]);
    },
  },
];

/** Routes, neighbours and forwarding entries. */
export const entryFaults: readonly Fault[] = [
  shared("routes flushed", 2, "ip route flush dev flannel.1"),
  shared("neighbours flushed", 2, "ip neighbour flush dev flannel.1 nud permanent"),
  shared(
    "forwarding entries flushed",
    2,
    "bridge fdb show dev flannel.1 | " +
      "while read -r mac rest; do bridge fdb del $mac dev flannel.1; done",
  ),
  entry("a route deleted", ({ subnet }) => ["ip", "route", "del", subnet]),
  entry("a route leads elsewhere", ({ subnet }) => {
    return ["ip", "route", "replace", subnet, "via", "192.168.200.1", "proto", "146"];
  }),
  entry("a neighbour deleted", (peer) => {
    return ["ip", "neighbour", "del", gateway(peer), "dev", "flannel.1"];
  }),
  entry("a neighbour has another MAC", (peer, { random }) => {
    const lladdr = ["lladdr", random.mac(), "nud", "permanent"];
    return ["ip", "neighbour", "replace", gateway(peer), "dev", "flannel.1", ...lladdr];
  }),
  entry("a forwarding entry deleted", ({ mac }) => {
    return ["bridge", "fdb", "del", mac, "dev", "flannel.1"];
  }),
  entry("a forwarding entry leads elsewhere", ({ mac }) => {
    return ["bridge", "fdb", "replace", mac, "dev", "flannel.1", "dst", "192.168.200.49"];
  }),
  entry("a stale route", (_, scene) => {
    const subnet = scene.freeSubnet();
    const via = ["via", subnet.split("/")[0] as string, "dev", "flannel.1", "onlink"];
    return ["ip", "route", "add", subnet, ...via, "proto", "146"];
  }),
  entry("a stale forwarding entry", (_, { random }) => {
    return ["bridge", "fdb", "add", random.mac(), "dev", "flannel.1", "dst", "192.168.200.49"];
  }),
  {
    kind: "foreign route",
    weight: 2,
    bites: "never",
    happen: async (scene) => {
      const { victim, random } = scene;
      const dst = `10.99.${random.within(0, 255)}.0/24`;
      const line = `route ${dst} via 192.168.200.1 dev eth0 proto static`;
      scene.addForeign(victim, line);
      await victim.ip(`route add ${dst} via 192.168.200.1 proto static`);
      return async () => {
        await victim.ip(`route del ${dst}`);
        scene.dropForeign(victim, (one) => one === line);
      };
    },
  },
  {
    kind: "foreign device",
    weight: 2,
    bites: "never",
    happen: async (scene) => {
      const { victim } = scene;
      const lines = ["link other0 bridge mtu 1500 up", "address 10.98.0.1/24 dev other0"];
      lines.push("route 10.98.0.0/24 dev other0 proto kernel");
      scene.addForeign(victim, ...lines);
      await victim.ip(
        "link add other0 type bridge",
        "address add 10.98.0.1/24 dev other0",
        "link set other0 up",
      );
      return async () => {
        await victim.ip("link delete other0");
        scene.dropForeign(victim, (one) => lines.includes(one));
      };
    },
  },
];

/** Rules. */
export const ruleFaults: readonly Fault[] = [
  {
    kind: "nft flush ruleset",
    weight: 3,
    bites: "stopped",
    happen: async (scene) => {
      // It takes the tables of everybody.
      scene.dropForeign(scene.victim, (line) => line.startsWith("table "));
      await scene.victim.must(["nft", "flush", "ruleset"]);
    },
  },
  ...["delete table inet twill", "flush chain inet twill postrouting"].map((request): Fault => ({
    kind: `nft ${request}`,
    weight: 1,
    bites: "stopped",
    happen: async ({ victim }) => void await victim.must(["nft", ...request.split(" ")]),
  })),
  {
    kind: "a rule too many",
    weight: 1,
    bites: "stopped",
    happen: async ({ victim }) => {
      await victim.must(["nft", "add rule inet twill forward ip saddr 10.244.1.7 drop"]);
    },
  },
  {
    kind: "foreign table",
    weight: 2,
    bites: "never",
    happen: async (scene) => {
      const { victim } = scene;
      scene.addForeign(victim, "table ip other");
      await victim.must(["nft", "add table ip other"]);
      return async () => {
        await victim.must(["nft", "delete table ip other"]);
        scene.dropForeign(victim, (one) => one === "table ip other");
      };
    },
  },
];
