/**
 * `twill inspect pods`: the work.
 *
 * @module
 */

import { networkOf } from "../../engine/ip.ts";
import type { InspectContext } from "../context.ts";
import { readSubnetFile } from "../gather.ts";
import { present, type Report } from "../report.ts";
import { gatherPods } from "./gather.ts";
import { isNamed, joinPods, nameOfPod } from "./join.ts";
import { judgePods } from "./judge.ts";
import type { PodsFlags } from "./pods.ts";
import { podsJson, podsTable } from "./render.ts";

/** Gathers, joins, judges, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(
  this: InspectContext,
  flags: PodsFlags,
  ...names: readonly string[]
): Promise<void> {
  const paths = [flags.networksDir, flags.cacheDir, flags.netnsDir];
  await present(this, flags, paths, () => report(this, flags, names));
}

async function report(
  context: InspectContext,
  flags: PodsFlags,
  names: readonly string[],
): Promise<Report> {
  const file = readSubnetFile(context, flags.subnetFile);
  const subnets = file.kind === "read"
    ? [file.env.subnet, file.env.subnet6].flatMap((inet) =>
      inet === undefined ? [] : networkOf(inet)
    )
    : [];
  const sources = await gatherPods(context, flags);
  const all = judgePods(joinPods(sources, subnets), sources, subnets, flags.networksDir);
  const strange = names.filter((name) => !all.some(({ pod }) => isNamed(pod, name)));
  const pods = names.length === 0
    ? all
    : all.filter(({ pod }) => names.some((name) => isNamed(pod, name)));
  return {
    kind: "pods",
    document: podsJson(pods),
    names: pods.map(({ pod }) => nameOfPod(pod)),
    table: (options) => podsTable(pods, options),
    findings: pods.flatMap(({ findings }) => findings),
    sources: {
      "items.namespace": "runtime cache",
      "items.pod": "runtime cache",
      "items.containerID": ["runtime cache", "host-local reservations"],
      "items.ips": ["runtime cache", "host-local reservations", "netlink"],
      "items.mac": ["netlink", "runtime cache"],
      "items.netns": ["netlink", "runtime cache"],
      "items.interface": ["runtime cache", "host-local reservations", "netlink"],
      "items.veth": ["netlink", "runtime cache"],
      "items.port": "netlink",
      "items.counters": "netlink",
      "items.reserved": "host-local reservations",
    },
    commands: [
      `grep -r . ${flags.networksDir}`,
      `ls ${flags.cacheDir}`,
      "ip -d -s link show type veth",
      ...pods.flatMap(({ pod: { netns } }) =>
        netns === undefined ? [] : [`nsenter --net=${netns} ip address`]
      ),
    ],
    notes: [
      ...sources.notes,
      ...strange.map((name) => `No pod ${JSON.stringify(name)} on this node`),
      ...(all.length === 0 ? ["No pods on this node"] : []),
    ],
    unknown: strange.length > 0,
  };
}
