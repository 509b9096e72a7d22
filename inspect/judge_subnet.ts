/**
 * The subnet file against the kernel: each value explained and compared. Pure.
 *
 * @module
 */

import type { Fact, LinkFact } from "../engine/fact.ts";
import { addressOf, contains } from "../engine/ip.ts";
import { DAEMON, type Finding } from "./finding.ts";
import { fileFinding, type Judgement, type SubnetRow, type Told, toldBy } from "./subnet_rows.ts";
import { judgeDevices } from "./judge_devices.ts";
import { addressesOf, linkOf, OVERHEAD, type Overlay, type Vtep, vtepAddress } from "./overlay.ts";

/** Explains and judges. Without a subnet file the kernel's half is still shown. */
export function judgeSubnet(overlay: Overlay): Judgement {
  const { file } = overlay;
  const told = file.kind === "read" ? toldBy(file.env) : undefined;
  const parts = [
    fileFinding(file),
    ...(told?.families ?? []).map((family) => placed(overlay, family)),
    ...overlay.vteps.map((vtep) => vtepPart(overlay, vtep, told)),
    { rows: [], findings: judgeDevices(overlay) },
    bridgePart(overlay, told),
  ];
  const findings = parts.flatMap((part) => part.findings);
  const kernelRows = parts.flatMap(({ rows }) => rows);
  const wrong = new Set(findings.map(({ subject }) => subject));
  const compared = overlay.vteps.some(({ mtu, foreign }) => mtu !== undefined && !foreign);
  const fileRows = (told?.rows ?? []).map((row): SubnetRow => {
    if (wrong.has(row.name)) return { ...row, status: "wrong" };
    return row.name === "FLANNEL_MTU" && !compared ? { ...row, status: "unchecked" } : row;
  });
  return { rows: [...fileRows, ...kernelRows], findings };
}

type Unjudged = Omit<SubnetRow, "status">;

/** A row of the kernel's half with the finding that it causes, if any. */
function judged(row: Unjudged, ...findings: readonly Finding[]): Judgement {
  return { rows: [{ ...row, status: findings.length > 0 ? "wrong" : "ok" }], findings };
}

/** This node's subnet lies in the cluster's network. */
function placed({ file }: Overlay, family: Told["families"][number]): Judgement {
  const { subnet, networks, subnetKey, networkKey } = family;
  const inside = networks.some((network) => contains(network, addressOf(subnet)));
  if (inside) return { rows: [], findings: [] };
  return {
    rows: [],
    findings: [{
      id: "subnet-outside-network",
      subject: subnetKey,
      short: "outside",
      what: `${subnet} is not inside ${networkKey}=${networks.join(",")}`,
      breaks:
        "other nodes have no route to this node's pods, and masquerade takes them for foreign",
      fix: "the network was changed: stop the daemon, remove the file, start the daemon:",
      command: `rm ${file.path}`,
    }],
  };
}

/** A VTEP's address and MTU. */
function vtepPart(overlay: Overlay, vtep: Vtep, told: Told | undefined): Judgement {
  const parts = [
    vtepAddressPart(overlay, vtep, told),
    vtepMtu(overlay.facts, vtep, vtep.foreign ? undefined : told),
  ];
  return { rows: parts.flatMap((p) => p.rows), findings: parts.flatMap((p) => p.findings) };
}

function vtepAddressPart(
  { facts }: Overlay,
  { name, family, foreign }: Vtep,
  told?: Told,
): Judgement {
  const own = told?.families.find((one) => one.family === family);
  const have = addressesOf(facts, name, family);
  const row: Unjudged = {
    name: `${name}:address`,
    value: have.join(",") || "none",
    source: "kernel",
    meaning: "this node's address on the overlay: the first of its subnet, alone in its prefix",
  };
  if (foreign) {
    const meaning = "a VTEP of another network than the file's";
    return { rows: [{ ...row, status: "unchecked", meaning }], findings: [] };
  }
  if (own === undefined) return { rows: [{ ...row, status: "unchecked" }], findings: [] };
  const want = vtepAddress(own.subnet);
  if (have.includes(want)) return judged(row);
  return judged(row, {
    id: "vtep-address",
    subject: name,
    short: "differs",
    what: have.length === 0
      ? `${name} has no IPv${family} address, ${own.subnetKey}=${own.subnet} wants ${want}`
      : `${name} has ${have.join(", ")}, ${own.subnetKey}=${own.subnet} wants ${want}`,
    breaks: "this node's own packets to pods of other nodes carry a source that nobody can answer",
    fix: DAEMON,
    command: `ip address add ${want} dev ${name}`,
  });
}

function vtepMtu(facts: readonly Fact[], vtep: Vtep, told: Told | undefined): Judgement {
  const { name, family, mtu, underlay } = vtep;
  if (mtu === undefined) return { rows: [], findings: [] };
  const lower = underlay === undefined ? undefined : linkOf(facts, underlay);
  const overhead = OVERHEAD[family];
  const room = lower?.mtu === undefined ? undefined : lower.mtu - overhead;
  const found: Finding[] = [];
  if (room !== undefined && mtu > room) {
    found.push({
      id: "vtep-mtu",
      subject: name,
      short: "too large",
      what: `${name} has MTU ${mtu}, but ${underlay} (MTU ${lower!.mtu}) carries only ${room}`,
      breaks: "small packets pass and large ones vanish: connections open, then hang",
      fix: `restart the daemon, which takes the MTU of ${underlay}; by hand:`,
      command: `ip link set ${name} mtu ${room}`,
    });
  }
  if (told !== undefined && told.mtu > mtu) {
    found.push({
      id: "env-mtu-large",
      subject: "FLANNEL_MTU",
      short: "too large",
      what: `FLANNEL_MTU=${told.mtu} is more than ${name} carries (${mtu})`,
      breaks: "small packets pass and large ones vanish: connections open, then hang",
      fix: "restart the daemon, which writes the file again; pods that exist keep the old MTU " +
        "until they are made anew",
    });
  }
  // Two families share one FLANNEL_MTU, so only the smallest VTEP can tell that it is too small.
  if (told !== undefined && told.families.length === 1 && told.mtu < mtu) {
    found.push({
      id: "env-mtu-small",
      subject: "FLANNEL_MTU",
      short: "smaller",
      what: `FLANNEL_MTU=${told.mtu} is less than ${name} carries (${mtu})`,
      breaks: "nothing, but pods send smaller packets than they could",
      fix: "restart the daemon, which writes the file again",
    });
  }
  const large = found.find(({ subject }) => subject === name);
  const { rows } = judged({
    name: `${name}:mtu`,
    value: String(mtu),
    source: "kernel",
    meaning: lower?.mtu === undefined
      ? "largest packet that it carries"
      : `at most ${underlay} ${lower.mtu} - ${overhead} for the outer headers = ${room}`,
  }, ...(large === undefined ? [] : [large]));
  const uplink: SubnetRow[] = lower?.mtu === undefined ? [] : [{
    name: `${underlay}:mtu`,
    value: String(lower.mtu),
    source: "kernel",
    status: "ok",
    meaning: `largest packet between nodes; ${name} sends by ${underlay}${
      vtep.local === undefined ? "" : ` from ${vtep.local}`
    }, UDP port ${vtep.port}, VNI ${vtep.vni}`,
  }];
  return { rows: [...rows, ...uplink], findings: found };
}

/** The pods' bridge: its addresses, and the MTU of what is plugged into it. */
function bridgePart({ facts, bridge }: Overlay, told: Told | undefined): Judgement {
  if (bridge === undefined) {
    const findings: Finding[] = [];
    return told === undefined ? { rows: [], findings } : {
      rows: [{
        name: "bridge",
        value: "none",
        source: "kernel",
        status: "unchecked",
        meaning: "no pod was started here yet: the first one makes cni0",
      }],
      findings,
    };
  }
  const parts = (told?.families ?? []).map((own) => bridgeAddress(facts, bridge, own));
  const mtu = told === undefined ? undefined : podMtu(facts, bridge, told.mtu);
  return {
    rows: [...parts.flatMap(({ rows }) => rows), ...(mtu?.rows ?? [])],
    findings: [...parts.flatMap(({ findings }) => findings), ...(mtu?.findings ?? [])],
  };
}

function bridgeAddress(
  facts: readonly Fact[],
  { name }: LinkFact,
  { family, subnet, subnetKey }: Told["families"][number],
): Judgement {
  const have = addressesOf(facts, name, family);
  const row: Unjudged = {
    name: `${name}:address`,
    value: have.join(",") || "none",
    source: "kernel",
    meaning: "the pods' gateway: must be the node's subnet as the file has it",
  };
  if (have.includes(subnet)) return judged(row);
  return judged(row, {
    id: "bridge-address",
    subject: name,
    short: "differs",
    what: `${name} has ${have.join(", ") || `no IPv${family} address`}, ` +
      `${subnetKey} says ${subnet}`,
    breaks: "new pods get addresses that the bridge does not serve, or fail with " +
      `"${name} already has an IP address different from ${subnet}"`,
    fix:
      "the node's subnet has changed: move the pods away, then delete the bridge; the next pod " +
      "makes it again:",
    command: `ip link delete ${name}`,
  });
}

function podMtu(facts: readonly Fact[], { name }: LinkFact, want: number): Judgement {
  const ports = facts.flatMap((fact) =>
    fact.kind === "port" && fact.bridge === name ? linkOf(facts, fact.dev) ?? [] : []
  );
  if (ports.length === 0) return { rows: [], findings: [] };
  const large = ports.filter(({ mtu = 0 }) => mtu > want);
  const row: Unjudged = {
    name: `${name}:ports`,
    value: String(ports.length),
    source: "kernel",
    meaning: `interfaces of pods on this node, MTU at most ${want}`,
  };
  if (large.length === 0) return judged(row);
  return judged(row, {
    id: "pod-mtu",
    subject: name,
    short: "MTU too large",
    what: `${large.length} of ${ports.length} pod interfaces have a larger MTU than ` +
      `FLANNEL_MTU=${want}: ${large.map((port) => `${port.name} ${port.mtu}`).join(", ")}`,
    breaks: "these pods send packets that the overlay cannot carry: large ones vanish",
    fix: "delete these pods; their successors get the MTU of the file",
  });
}
