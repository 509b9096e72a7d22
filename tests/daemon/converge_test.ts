/** Passes of the daemon on the kernel in memory. */

import assert from "node:assert/strict";
import { Converger, type Wish } from "../../daemon/converge.ts";
import { makeBackend } from "../../engine/backend/registry.ts";
import { ErrorCode, OpError } from "../../engine/errors.ts";
import { describe, type Fact } from "../../engine/fact.ts";
import { parseCidr4, parseIp4 } from "../../engine/ip.ts";
import { jsonObject } from "../../engine/json.ts";
import type { Lease } from "../../engine/lease.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import type { Change } from "../../engine/plan.ts";
import type { Kernel } from "../../ffi/kernel.ts";
import { FakeKernel } from "../engine/fake_kernel.ts";

const BACKEND = makeBackend(parseNetConf('{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}'));

const lease = (n: number, mac = `02:00:00:00:00:0${n}`): Lease => ({
  subnet: parseCidr4(`10.0.${n}.0/24`),
  publicIp: parseIp4(`192.0.2.${n}`),
  backendType: "vxlan",
  backendData: jsonObject({ VNI: 1, VtepMAC: mac }),
});

const WISH: Wish = {
  self: {
    underlay: { name: "eth0", mtu: 1500, addresses: { 4: parseIp4("192.0.2.1") }, onLink: [] },
    lease: lease(1),
  },
  common: [],
};

/** A kernel in memory that counts readings and can refuse by the words of a fact. */
class Scene implements Pick<Kernel, "read" | "apply"> {
  readonly fake = new FakeKernel();
  reads = 0;
  refuse: string | undefined;

  constructor() {
    this.fake.give(
      { kind: "link", where: "host", name: "eth0", driver: { kind: "other", name: "" } },
      { kind: "up", where: "host", dev: "eth0", up: true },
    );
  }

  read(): Fact[] {
    this.reads++;
    return this.fake.read();
  }

  apply(changes: readonly Change[]): ReturnType<Kernel["apply"]> {
    return changes.map((change) => {
      const words = describe(change.fact);
      const refused = change.op === "put" && this.refuse !== undefined &&
        words.includes(this.refuse);
      const kernel = refused ? "refused by the scene" : this.fake.apply([change])[0];
      if (kernel === undefined) return { change };
      return { change, error: new OpError("set", words, { code: ErrorCode.kernel, kernel }) };
    });
  }

  routes(): string[] {
    return this.fake.read().filter((f) => f.kind === "route" && f.protocol === 146)
      .map(describe).sort();
  }
}

const route = (n: number): string => `10.0.${n}.0/24 via 10.0.${n}.0 dev flannel.1 onlink`;

Deno.test("whole: programs the peers, then finds nothing to do", () => {
  const scene = new Scene();
  const converger = new Converger(scene, BACKEND);
  const leases = [lease(1), lease(2), lease(3)];
  const first = converger.whole(WISH, leases);
  assert.deepEqual([first.peers, first.programmed, first.own], [2, 2, []]);
  assert.deepEqual(scene.routes(), [route(2), route(3)]);
  assert.deepEqual(converger.whole(WISH, leases).changes, []);
});

Deno.test("changed: one peer comes, one goes, one gets another MAC, without reading", () => {
  const scene = new Scene();
  const converger = new Converger(scene, BACKEND);
  const [own, two, three] = [lease(1), lease(2), lease(3)];
  converger.whole(WISH, [own, two, three]);
  const reads = scene.reads;
  const moved = lease(3, "02:00:00:00:00:33");
  const report = converger.changed(WISH, [own, moved, lease(4)]);
  assert.equal(scene.reads, reads);
  assert.deepEqual(scene.routes(), [route(3), route(4)]);
  assert.deepEqual(
    scene.fake.read().filter((f) => f.kind === "fdb").map(describe).sort(),
    [
      "02:00:00:00:00:04 dev flannel.1 dst 192.0.2.4",
      "02:00:00:00:00:33 dev flannel.1 dst 192.0.2.3",
    ],
  );
  assert.deepEqual([report.peers, report.programmed], [2, 2]);
  assert.deepEqual(converger.whole(WISH, [own, moved, lease(4)]).changes, []);
});

Deno.test("a refused peer holds nothing back, and is tried again", () => {
  const scene = new Scene();
  const converger = new Converger(scene, BACKEND);
  const leases = [lease(1), lease(2), lease(3)];
  scene.refuse = "10.0.2.0/24 via";
  const report = converger.whole(WISH, leases);
  assert.deepEqual([report.programmed, report.own], [1, []]);
  assert.deepEqual(report.refused.map(({ who }) => who), ["10.0.2.0-24"]);
  assert.match(report.refused[0]?.reason ?? "", /refused by the scene/);
  scene.refuse = undefined;
  assert.equal(converger.changed(WISH, leases).programmed, 2);
  assert.deepEqual(scene.routes(), [route(2), route(3)]);
});

Deno.test("a bad record is named, and costs its neighbours nothing", () => {
  const scene = new Scene();
  const { backendData: _data, ...bare } = lease(2);
  const report = new Converger(scene, BACKEND).whole(WISH, [lease(1), bare, lease(3)]);
  assert.deepEqual(report.bad, [{ who: "10.0.2.0-24", reason: "its lease carries no VTEP data" }]);
  assert.deepEqual([report.peers, report.programmed, report.refused], [2, 1, []]);
});

Deno.test("what fails of this node itself is no peer's fault, and the next pass is a whole one", () => {
  const scene = new Scene();
  const converger = new Converger(scene, BACKEND);
  scene.refuse = "flannel.1 type";
  const report = converger.whole(WISH, [lease(1), lease(2)]);
  assert.equal(report.own[0]?.who, "this node");
  scene.refuse = undefined;
  const { reads } = scene;
  assert.deepEqual(converger.changed(WISH, [lease(1), lease(2)]).own, []);
  assert.equal(scene.reads, reads + 1);
  assert.deepEqual(scene.routes(), [route(2)]);
});

Deno.test("a foreign route in a peer's place is reported and left alone", () => {
  const scene = new Scene();
  scene.fake.give({
    kind: "route",
    where: "host",
    dst: parseCidr4("10.0.2.0/24"),
    dev: "eth0",
    protocol: 4,
  });
  const report = new Converger(scene, BACKEND).whole(WISH, [lease(1), lease(2), lease(3)]);
  assert.match(report.refused[0]?.reason ?? "", /its place is taken by .* which is not ours/);
  assert.deepEqual(scene.routes(), [route(3)]);
});
