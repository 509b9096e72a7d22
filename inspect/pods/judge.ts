/**
 * What is wrong with pods' interfaces and addresses. Pure.
 *
 * @module
 */

import { addressOf, type Cidr, contains } from "../../engine/ip.ts";
import type { Finding } from "../finding.ts";
import { nameOfPod, type Pod } from "./join.ts";
import type { PodSources } from "./view.ts";

/** A pod with what is wrong with it. */
export interface JudgedPod {
  readonly pod: Pod;
  readonly findings: readonly Finding[];
}

/** Judges each, and each against the others. @param subnets those of this node */
export function judgePods(
  pods: readonly Pod[],
  sources: PodSources,
  subnets: readonly Cidr[],
  networksDir: string,
): JudgedPod[] {
  const owners = new Map<string, Pod[]>();
  for (const pod of pods) {
    for (const ip of pod.inside?.addresses.map(addressOf) ?? []) {
      owners.set(ip, [...owners.get(ip) ?? [], pod]);
    }
  }
  // A port whose other end nobody can find may be the pod of any reservation.
  const lost = sources.host.some((link) =>
    link.kind === "veth" && link.master !== undefined && !pods.some(({ veth }) => veth === link)
  );
  return pods.map((pod) => ({
    pod,
    findings: [
      ...leaked(pod, sources.entered && !lost, networksDir),
      ...unreserved(pod, sources, subnets),
      ...twice(pod, owners),
      ...unplugged(pod),
    ].map((words) => ({ ...words, subject: nameOfPod(pod) })),
  }));
}

type Words = Omit<Finding, "subject">;

function leaked(pod: Pod, certain: boolean, dir: string): Words[] {
  const { inside, reservations, containerId, cached } = pod;
  if (!certain || inside !== undefined || reservations.length === 0) return [];
  const files = reservations.map(({ network, ip }) => `${dir}/${network}/${ip}`);
  return [{
    id: "leaked-address",
    short: "no such pod",
    what: containerId === undefined
      ? `${pod.ips.join(", ")} is reserved for nobody: a plugin died while it wrote the file`
      : `${pod.ips.join(", ")} is reserved for container ${containerId}, and no network ` +
        "namespace has it",
    breaks: "the address cannot be given to another pod; when all are gone, no pod starts",
    fix: cached
      ? "the runtime still knows this container and deletes it with the pod: see its log"
      : "nobody will give it back: if no runtime of this node knows the container,",
    ...(cached ? {} : { command: `rm ${files.join(" ")}` }),
  }];
}

function unreserved(pod: Pod, sources: PodSources, subnets: readonly Cidr[]): Words[] {
  const reserved = new Set(sources.reservations.map(({ ip }) => ip));
  const bare = (pod.inside?.addresses ?? []).map(addressOf).filter((ip) =>
    subnets.some((subnet) => contains(subnet, ip)) && !reserved.has(ip)
  );
  // Without any reservation another IPAM plugin may be at work.
  if (bare.length === 0 || sources.reservations.length === 0) return [];
  return [{
    id: "unreserved-address",
    short: "address not reserved",
    what: `it has ${bare.join(", ")}, for which there is no reservation`,
    breaks: "the same address may be given to another pod",
    fix: "delete the pod: it gets another address when it is made again",
  }];
}

function twice(pod: Pod, owners: ReadonlyMap<string, readonly Pod[]>): Words[] {
  const shared = (pod.inside?.addresses ?? []).map(addressOf).flatMap((ip) => {
    const others = (owners.get(ip) ?? []).filter((one) => one !== pod);
    return others.length === 0 ? [] : [`${ip} (also ${others.map(nameOfPod).join(", ")})`];
  });
  if (shared.length === 0) return [];
  return [{
    id: "address-twice",
    short: "address used twice",
    what: `another pod has its address: ${shared.join(", ")}`,
    breaks: "packets go to one of them, now this one, now the other",
    fix: "delete one of the pods",
  }];
}

function unplugged({ inside, veth, bridge, vethName }: Pod): Words[] {
  if (inside === undefined) return [];
  const words: Words[] = [];
  if (veth === undefined) {
    words.push({
      id: "no-veth",
      short: "no pair",
      what: `${vethName ?? "the other end of its pair"} is not on this node`,
      breaks: "no packet reaches the pod",
      fix: "delete the pod: it gets a new interface when it is made again",
    });
  } else if (bridge === undefined) {
    words.push({
      id: "not-plugged",
      short: "not on a bridge",
      what: `${veth.name} is a port of no bridge`,
      breaks: "no packet reaches the pod",
      fix: "plug it in again, or delete the pod:",
      command: `ip link set ${veth.name} master cni0`,
    });
  }
  for (const end of [inside, ...(veth === undefined ? [] : [veth])]) {
    if (end.up) continue;
    words.push({
      id: "interface-down",
      short: `${end.name} is down`,
      what: `${end.name} is down`,
      breaks: "no packet reaches the pod",
      fix: end === veth ? "set it up:" : "in the pod's namespace, set it up:",
      command: `ip link set ${end.name} up`,
    });
  }
  return words;
}
