/**
 * The last hop of a packet for a pod of this node. Pure.
 *
 * @module
 */

import type { Walk } from "./walk.ts";
import type { Ending } from "./world.ts";

/** Into a pod on this node's bridge. */
export function deliver(one: Walk, bridge: string): Ending {
  const { world, packet } = one;
  const pod = world.pods.find(({ ips }) => ips.includes(packet.dst));
  const veth = pod?.veth === undefined ? undefined : world.links.get(pod.veth);
  if (pod === undefined || veth === undefined) {
    return one.fail({
      step: "deliver",
      at: bridge,
      what: `no pod of this node has the address ${packet.dst}`,
    }, {
      id: "no-such-pod",
      short: "no such pod",
      fix: "see which pods there are; a service may still name one that is gone:",
      command: "twill inspect pods",
    });
  }
  if (!veth.up || veth.bridge !== bridge) {
    return one.fail({
      step: "deliver",
      at: veth.name,
      what: veth.up ? `it is no port of ${bridge}` : "it is down",
    }, {
      id: "veth-unplugged",
      short: "unplugged",
      fix: "plug it in again:",
      command: veth.up
        ? `ip link set ${veth.name} master ${bridge}`
        : `ip link set ${veth.name} up`,
    });
  }
  if (one.sender === pod && veth.hairpin !== true) {
    return one.fail({
      step: "deliver",
      at: veth.name,
      what: "the packet would have to leave by the port that it came in by, and hairpin is off",
    }, {
      id: "no-hairpin",
      short: "hairpin is off",
      fix: "set hairpinMode in the delegate of the network's configuration; for this pod:",
      command: `bridge link set dev ${veth.name} hairpin on`,
    });
  }
  const from = one.sender?.veth === undefined ? undefined : world.links.get(one.sender.veth);
  if (from?.isolated === true && veth.isolated === true && from !== veth) {
    return one.fail({
      step: "deliver",
      at: veth.name,
      what: "both ports are isolated from each other",
    }, {
      id: "isolated-ports",
      short: "isolated",
      fix: "portIsolation of the bridge plugin does that: see the network's configuration",
    });
  }
  one.add({ step: "deliver", at: veth.name, what: `reaches ${pod.name}, ${pod.ifname}` });
  return "delivered";
}
