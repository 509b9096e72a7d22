/**
 * `twill inspect check`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { describe, watchAliases, watchFlags } from "../flags.ts";
import { probeFlags } from "../probe_flags.ts";
import type { CheckFlags } from "./flags.ts";

const path = (fallback: string, brief: string) => ({
  kind: "parsed" as const,
  parse: String,
  default: fallback,
  placeholder: "path",
  brief,
});

/** The command. */
export const check: InspectCommand = command<CheckFlags>({
  loader: () => import("./check_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      ...watchFlags,
      ...probeFlags("Send packets to all peers: echo requests of all sizes, TCP, a datagram"),
      confDir: path("/etc/cni/net.d", "Where the container runtime looks for networks"),
      binDir: path("/opt/cni/bin", "Where it looks for plugins; several with : between"),
      networksDir: path("/var/lib/cni/networks", "Where plugins keep reserved addresses"),
    },
    aliases: watchAliases,
  },
  docs: {
    brief: "Is this node fit for a pod network, and does it hold what it should?",
    fullDescription: describe([
      "Before the network is installed: the kernel's features and settings, the uplink's MTU, and",
      "networks that are there already. After: also the devices, and the entries of each peer against",
      "the leases, the rules, the runtime's files, addresses that are left, the end of the lease.",
      "Each problem says what it breaks and what to do.",
      "",
      "With --probe it also sends: echo requests to each peer's address on the overlay, small and of",
      "the overlay's MTU; an attempt to connect by TCP; where nothing comes back, a datagram that the",
      "peer's daemon, if it is twill's, confirms on its health port. Without, nothing is sent.",
      "",
      "Run it as root: without, some of it cannot be looked at. Changes nothing.",
      "Exit code: 0 all is well, 1 something is wrong, 2 wrong usage, 3 something cannot be told.",
    ], [
      ["twill inspect check", "all that can be found out by looking"],
      ["twill inspect check -o json | jq -r '.findings[].id'", "what is wrong, for a script"],
      ["twill inspect check --probe", "also the way to each peer, with packets"],
    ]),
  },
});
