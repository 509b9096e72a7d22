/**
 * `twill inspect pods`: its flags and its help.
 *
 * @module
 */

import type { FlagParametersForType } from "@stricli/core";
import type { InspectContext } from "../context.ts";
import { command, type InspectCommand } from "../command.ts";
import { describe, watchAliases, type WatchFlags, watchFlags } from "../flags.ts";

/** What the command is told. */
export interface PodsFlags extends PodPlaces, WatchFlags {}

/** Where pods are looked for. */
export interface PodPlaces {
  /** host-local's addresses. */
  readonly networksDir: string;
  /** The results cache of the runtime's library. */
  readonly cacheDir: string;
  /** Where namespaces have names. */
  readonly netnsDir: string;
}

/** The declaration of {@link PodPlaces}. */
export const podPlaces: FlagParametersForType<PodPlaces, InspectContext> = {
  networksDir: {
    kind: "parsed",
    parse: String,
    default: "/var/lib/cni/networks",
    placeholder: "path",
    brief: "Addresses that host-local has given out",
  },
  cacheDir: {
    kind: "parsed",
    parse: String,
    default: "/var/lib/cni/results",
    placeholder: "path",
    brief: "What the container runtime keeps of each pod",
  },
  netnsDir: {
    kind: "parsed",
    parse: String,
    default: "/run/netns",
    placeholder: "path",
    brief: "Where network namespaces have names",
  },
};

/** The command. */
export const pods: InspectCommand = command<PodsFlags, string[]>({
  loader: () => import("./run.ts").then((m) => m.run),
  parameters: {
    flags: {
      ...podPlaces,
      ...watchFlags,
    },
    aliases: watchAliases,
    positional: {
      kind: "array",
      parameter: {
        parse: String,
        placeholder: "pod",
        brief: "Only these: name, namespace/name, address, device or container",
      },
    },
  },
  docs: {
    brief: "Which pod is which: name, address, MAC address, device, namespace, counters",
    fullDescription: describe([
      "Joins what four places tell: the addresses that host-local gave out, what the container",
      "runtime keeps of each pod (its name in Kubernetes, too), the interface inside each network",
      "namespace, and its other end on this node's bridge. What does not join is named: addresses",
      "that no pod has, pods without a reservation, devices that are down or plugged in nowhere.",
      "",
      "SENT and RECEIVED are bytes as the pod counts them. Needs root to look into namespaces.",
      "Exit code: 0 fine, 1 something is wrong, 2 wrong usage, 3 no such pod.",
    ], [
      ["twill inspect pods", "which pod has which address and device"],
      ["twill inspect pods default/web -o wide", "one pod, with its port's flags and counters"],
      ["twill inspect pods 10.244.1.7 -o json | jq -r '.items[].veth'", "the device to capture on"],
    ]),
  },
}, "pods");
