/** The VLAN part of ADD on a kernel that remembers: most kernels that run these tests have no VLANs. */

import assert from "node:assert/strict";
import {
  ensureVlanBridge,
  ensureVlanGateway,
  joinVlans,
  type VlanKernel,
} from "../../cni/bridge/vlan.ts";
import { Request } from "../../cni/plugin.ts";
import { ErrorCode, OpError } from "../../engine/errors.ts";
import { describe, type Fact, type LinkFact, slotOf, type VlanFact } from "../../engine/fact.ts";
import type { Change } from "../../engine/plan.ts";
import { Errno } from "../../ffi/errno.ts";
import type { Link, Outcome } from "../../ffi/kernel.ts";

const BRIDGE: LinkFact = { kind: "link", where: "host", name: "br0", driver: { kind: "bridge" } };

/** Bridges, pairs, ports and VLANs, as Linux keeps them. */
class Memory implements VlanKernel {
  readonly facts = new Map<string, Fact>();
  /** What was done, in words. */
  readonly log: string[] = [];
  /** False: as a kernel that was built without VLANs on bridges. */
  readonly filtering: boolean;
  readonly #indexes: string[] = [];

  constructor(filtering = true) {
    this.filtering = filtering;
  }

  enlarge(): void {
    this.log.push("enlarge");
  }

  apply(changes: readonly Change[]): Outcome[] {
    return changes.map((change) => {
      const errno = this.#apply(change);
      if (errno === 0) {
        this.log.push(`${change.op} ${describe(change.fact).replace(/veth[0-9a-f]{8}/, "PEER")}`);
        return { change };
      }
      return { change, error: new OpError("set", "it", { code: ErrorCode.kernel, errno }) };
    });
  }

  #apply({ op, fact }: Change): number {
    if (op === "delete") this.facts.delete(slotOf(fact));
    else if (fact.kind === "link") return this.#make(fact);
    else if (fact.kind === "port") {
      this.facts.set(slotOf(fact), fact);
      if (this.filtering) this.#vlan({ ...at(fact.dev, 1), pvid: true, untagged: true });
    } else if (fact.kind === "vlan") {
      if (!this.filtering) return Errno.EOPNOTSUPP;
      this.#vlan(fact);
    } else this.facts.set(slotOf(fact), fact);
    return 0;
  }

  #make(fact: LinkFact): number {
    const peer = fact.driver.kind === "veth" ? fact.driver.peer : undefined;
    if (this.facts.has(slotOf(fact))) return Errno.EEXIST;
    if (fact.driver.kind === "bridge" && fact.driver.vlanFiltering && !this.filtering) {
      return Errno.EOPNOTSUPP;
    }
    for (const name of [fact.name, ...(peer === undefined ? [] : [peer])]) {
      this.facts.set(slotOf({ ...fact, name }), { ...fact, name });
      this.#indexes.push(name);
    }
    return 0;
  }

  /** A port has one VLAN for untagged frames: the last that was told. */
  #vlan(fact: VlanFact): void {
    for (const [slot, other] of this.facts) {
      const loses = fact.pvid && other.kind === "vlan" && other.dev === fact.dev && other.pvid;
      if (loses) this.facts.set(slot, { ...other, pvid: false });
    }
    this.facts.set(slotOf(fact), fact);
  }

  link(_where: "host" | "pod", name: string): Link | undefined {
    return this.links().find((link) => link.name === name);
  }

  links(): Link[] {
    const all = [...this.facts.values()].filter((fact): fact is LinkFact => fact.kind === "link");
    return all.map(({ name, driver }) => {
      const peer = driver.kind === "veth" ? driver.peer : undefined;
      const other = peer === name ? all.find((one) => one.driver === driver)?.name : peer;
      const bridge = this.filtering ? { vlanProtocol: 0x8100 } : {};
      return {
        index: this.#indexes.indexOf(name) + 1,
        name,
        kind: driver.kind,
        mtu: 1400,
        flags: 0,
        operstate: 0,
        ...(other === undefined ? {} : { lower: this.#indexes.indexOf(other) + 1 }),
        message: { attributes: { info: { kind: driver.kind, bridge } } },
      };
    });
  }

  read(): Fact[] {
    return [...this.facts.values()];
  }

  /** The VLANs of a port: `100 pvid untagged`. */
  vlans(dev: string): string[] {
    return this.read().filter((fact) => fact.kind === "vlan" && fact.dev === dev)
      .map((fact) => describe(fact).replace(`dev ${dev} vid `, "")).sort();
  }
}

function at(dev: string, id: number): VlanFact {
  return { kind: "vlan", where: "host", dev, id };
}

const REQUEST = Object.create(Request.prototype, {
  containerId: { value: "c1" },
  ifname: { value: "eth0" },
}) as Request;

function port(kernel: Memory, dev: string): void {
  kernel.apply([{ op: "put", fact: { kind: "port", where: "host", dev, bridge: "br0" } }]);
}

Deno.test("ensureVlanBridge makes a bridge with a filter, once", () => {
  const kernel = new Memory();
  ensureVlanBridge(REQUEST, kernel, BRIDGE);
  ensureVlanBridge(REQUEST, kernel, BRIDGE);
  assert.deepEqual(kernel.log, ["put br0 type bridge vlan_filtering 1"]);
});

Deno.test("ensureVlanBridge refuses by name what the kernel lacks, and makes nothing", () => {
  const want = { code: ErrorCode.unsupportedField, message: /CONFIG_BRIDGE_VLAN_FILTERING/ };
  const kernel = new Memory(false);
  assert.throws(() => ensureVlanBridge(REQUEST, kernel, BRIDGE), want);
  assert.deepEqual(kernel.log, []);
  kernel.apply([{ op: "put", fact: BRIDGE }]);
  assert.throws(() => ensureVlanBridge(REQUEST, kernel, BRIDGE), want);
});

Deno.test("ensureVlanBridge refuses what is no bridge", () => {
  const kernel = new Memory();
  kernel.apply([{ op: "put", fact: { ...BRIDGE, driver: { kind: "veth", peer: "x" } } }]);
  assert.throws(() => ensureVlanBridge(REQUEST, kernel, BRIDGE), /is not a bridge/);
});

const PORTS: readonly (readonly [Parameters<typeof joinVlans>[3], readonly string[]])[] = [
  [{ access: 100, trunk: [], keepDefault: false }, ["100 pvid untagged"]],
  [{ access: 100, trunk: [], keepDefault: true }, ["1 untagged", "100 pvid untagged"]],
  [{ access: 1, trunk: [], keepDefault: false }, ["1 pvid untagged"]],
  [{ trunk: [101, 102], keepDefault: false }, ["1 pvid untagged", "101", "102"]],
  [{ trunk: [1, 5], keepDefault: false }, ["1 pvid untagged", "5"]],
  [{ access: 100, trunk: [1, 100, 101], keepDefault: false }, ["1", "100 pvid untagged", "101"]],
];

for (const [vlans, want] of PORTS) {
  Deno.test(`joinVlans gives ${want.join(", ")} for ${JSON.stringify(vlans)}`, () => {
    const kernel = new Memory();
    port(kernel, "v0");
    joinVlans(REQUEST, kernel, "v0", vlans);
    assert.deepEqual(kernel.vlans("v0"), want);
    const said = kernel.log.length;
    joinVlans(REQUEST, kernel, "v0", vlans);
    assert.equal(kernel.log.length, said, "nothing twice");
  });
}

Deno.test("joinVlans makes room for the answers of a large trunk", () => {
  const kernel = new Memory();
  port(kernel, "v0");
  const trunk = Array.from({ length: 4094 }, (_, n) => n + 1);
  joinVlans(REQUEST, kernel, "v0", { access: 7, trunk, keepDefault: false });
  assert.equal(kernel.vlans("v0").length, 4094);
  assert.ok(kernel.log.includes("enlarge"));
});

Deno.test("joinVlans says what the kernel refused", () => {
  const kernel = new Memory(false);
  assert.throws(
    () => joinVlans(REQUEST, kernel, "v0", { access: 100, trunk: [], keepDefault: false }),
    /failed to set VLANs of the port/,
  );
});

Deno.test("ensureVlanGateway makes one pair for all, its port in the VLAN before it is up", () => {
  const kernel = new Memory();
  ensureVlanBridge(REQUEST, kernel, BRIDGE);
  const vlans = { access: 100, trunk: [5], keepDefault: false };
  assert.equal(ensureVlanGateway(REQUEST, kernel, "br0", vlans), "br0.100");
  const log = [...kernel.log];
  assert.deepEqual(log, [
    "put br0 type bridge vlan_filtering 1",
    "put br0.100 type veth peer PEER mtu 1400",
    "put PEER master br0",
    "put dev PEER vid 100 pvid untagged",
    "delete dev PEER vid 1 pvid untagged",
    "put PEER up",
    "put br0.100 up",
  ]);
  assert.equal(ensureVlanGateway(REQUEST, kernel, "br0", vlans), "br0.100");
  assert.deepEqual(kernel.log, log);
});

Deno.test("ensureVlanGateway completes what was left half made", () => {
  const kernel = new Memory();
  ensureVlanBridge(REQUEST, kernel, BRIDGE);
  const driver = { kind: "veth", peer: "veth00000001" } as const;
  kernel.apply([{ op: "put", fact: { ...BRIDGE, name: "br0.100", driver } }]);
  ensureVlanGateway(REQUEST, kernel, "br0", { access: 100, trunk: [], keepDefault: false });
  assert.deepEqual(kernel.vlans("veth00000001"), ["100 pvid untagged"]);
  assert.equal(kernel.log.filter((line) => line.includes("type veth")).length, 1);
});
