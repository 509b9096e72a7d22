/**
 * `twill inspect trace`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { commonAliases, type CommonFlags, commonFlags, describe } from "../flags.ts";
import { type PodPlaces, podPlaces } from "../pods/pods.ts";
import { type ProbeFlags, probeFlags } from "../probe_flags.ts";

/** What the command is told. */
export interface TraceFlags extends CommonFlags, PodPlaces, ProbeFlags {
  /** Send one packet, and tell where the kernel saw it. */
  readonly live: boolean;
}

/** The command. */
export const trace: InspectCommand = command<TraceFlags, [string, string, string | undefined]>({
  loader: () => import("./trace_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      ...commonFlags,
      ...podPlaces,
      live: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Also send one such packet, and tell where the kernel saw it; needs --probe",
      },
      ...probeFlags("Ask the daemon of the node that the packet leaves for, too"),
    },
    aliases: commonAliases,
    positional: {
      kind: "tuple",
      parameters: [
        { parse: String, placeholder: "src", brief: "Pod, address, or node" },
        { parse: String, placeholder: "dst", brief: "The same, or svc/NAMESPACE/NAME[:PORT]" },
        {
          parse: String,
          placeholder: "port",
          optional: true,
          brief: "80, tcp/80, udp/53; without one: ICMP, or the service's own",
        },
      ],
    },
  },
  docs: {
    brief: "Which way a packet would take, hop by hop, and where it would end",
    fullDescription: describe([
      "No packet is sent. The kernel is asked for its routing decisions, in the pod's namespace and in",
      "the node's; neighbours, forwarding entries, MTU and rules are read and followed: twill's and",
      "flannel's own, kube-proxy's in both of its forms, and any other rule as far as each of its words",
      "is understood. A rule that is not is listed as one that may act.",
      "",
      "SRC and DST: a pod of this node (name, namespace/name, address), an address, `node` for this",
      "node, a node's name from its lease, a service in kube-proxy's rules. A packet for another node",
      "ends where it leaves this one; with --probe the daemon there (twill's) is asked for the rest.",
      "",
      "--live (with --probe) sends one real packet from the pod or the node: an echo request, a TCP SYN,",
      "an empty UDP datagram. A table of rules makes the kernel tell where it comes by; the table is",
      "this program's own, and goes with it even if it is killed.",
      "",
      "Needs root. Exit code: 0 it arrives or leaves as it should, 1 it ends on this node, 2 wrong",
      "usage, 3 cannot tell.",
    ], [
      ["twill inspect trace default/web 10.244.2.7 80", "from a pod to one of another node"],
      ["twill inspect trace default/web svc/default/shop", "through a service, each endpoint"],
      ["twill inspect trace web 192.0.2.80 tcp/443 -o json | jq .items[0].ending", "for a script"],
    ]),
  },
}, "pods");
