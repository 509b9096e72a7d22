/**
 * Faults of the store, of its contents and of the daemon itself.
 *
 * @module
 */

import { until } from "../command.ts";
import type { Fault } from "./catalogue.ts";
import { keyOf, readRevision } from "./oracle.ts";
import type { Scene } from "./scene.ts";

const FOLDER = "/coreos.com/network/subnets";

/** Some changes of peers, by etcdctl. */
async function changePeers(scene: Scene): Promise<void> {
  const { random } = scene;
  const [gone, moved] = [random.pick(scene.peers), random.pick(scene.peers)];
  await scene.put({ ...moved, mac: random.mac() });
  if (gone.subnet !== moved.subnet) await scene.remove(gone);
  await scene.put(scene.newPeer());
  if (scene.peers.length < 6) await scene.put(scene.newPeer());
}

/** A key that is written, has to change nothing, and is removed again. */
async function harmless(scene: Scene, key: string, value: string): Promise<() => Promise<void>> {
  await scene.lab.etcd.must("put", key, value);
  return async () => void await scene.lab.etcd.must("del", key);
}

/** What other hands do to the store's contents. */
export const storeFaults: readonly Fault[] = [
  {
    kind: "peer added",
    weight: 3,
    bites: "stopped",
    happen: (scene) => scene.put(scene.newPeer()),
  },
  {
    kind: "peer removed",
    weight: 3,
    bites: "stopped",
    happen: async (scene) => {
      await scene.remove(scene.random.pick(scene.peers));
      if (scene.peers.length < 6) await scene.put(scene.newPeer());
    },
  },
  {
    kind: "peer has another MAC",
    weight: 2,
    bites: "stopped",
    happen: (scene) => scene.put({ ...scene.random.pick(scene.peers), mac: scene.random.mac() }),
  },
  {
    kind: "peer has another address",
    weight: 2,
    bites: "stopped",
    happen: (scene) =>
      scene.put({ ...scene.random.pick(scene.peers), publicIp: scene.freeAddress() }),
  },
  {
    kind: "garbage value",
    weight: 2,
    bites: "never",
    happen: (scene) => {
      const values = ["{not json", "", "null", '{"PublicIP":7}', '"text"', "[1,2]"];
      return harmless(scene, keyOf(scene.freeSubnet()), scene.random.pick(values));
    },
  },
  {
    // The peer is where it was: who cannot read its record must not forget it.
    kind: "garbage over a peer",
    weight: 2,
    bites: "never",
    happen: async (scene) => {
      const peer = scene.random.pick(scene.peers);
      await scene.lab.etcd.must("put", keyOf(peer.subnet), "{not json");
      return () => scene.put(peer);
    },
  },
  {
    kind: "garbage key",
    weight: 2,
    bites: "never",
    happen: (scene) => {
      const names = ["/foo", "/10.244.300.0-24", "/10.244.3.0", "-old/10.244.250.0-24", "//"];
      const value = '{"PublicIP":"192.168.200.49","BackendType":"vxlan"}';
      return harmless(scene, FOLDER + scene.random.pick(names), value);
    },
  },
  {
    kind: "peer without data",
    weight: 1,
    bites: "never",
    happen: (scene) => {
      const value =
        `{"PublicIP":"${scene.freeAddress()}","BackendType":"vxlan","BackendData":null}`;
      return harmless(scene, keyOf(scene.freeSubnet()), value);
    },
  },
  {
    // Until the node has written it again, the other one has no way to it.
    kind: "own lease deleted",
    weight: 1,
    bites: "never",
    costs: true,
    happen: async (scene) => {
      const key = keyOf(scene.leaseOf(scene.victim).subnet);
      await scene.lab.etcd.must("del", key);
      await until("the lease is back", async () => {
        return await scene.lab.etcd.must("get", key) !== "";
      }, { seconds: 5, explain: () => scene.tails() });
    },
  },
];

/** What happens to the programs. */
export const daemonFaults: readonly Fault[] = [
  {
    kind: "killed, peers change meanwhile",
    weight: 2,
    bites: "itself",
    happen: async (scene) => {
      await scene.kill();
      await changePeers(scene);
      await scene.mustBite("killed");
      await scene.restart();
    },
  },
  {
    kind: "stopped in its tracks, peers change",
    weight: 2,
    bites: "itself",
    happen: async (scene) => {
      scene.freeze();
      await changePeers(scene);
      await scene.mustBite("stopped");
      scene.thaw();
    },
  },
  {
    kind: "restarted",
    weight: 1,
    bites: "never",
    happen: async (scene) => {
      await scene.kill("SIGTERM");
      await scene.restart();
      await scene.victim.ready();
    },
  },
  {
    // Drift is repaired all the same; what the store says is followed when it is back.
    kind: "etcd away, a route deleted; then a peer",
    weight: 1,
    bites: "stopped",
    happen: async (scene) => {
      await scene.lab.etcd.stop();
      const { subnet } = scene.random.pick(scene.peers);
      await scene.victim.ip(`route del ${subnet}`);
      return async () => {
        await scene.lab.etcd.start();
        await scene.put(scene.newPeer());
      };
    },
  },
  {
    kind: "etcd killed and started, a peer added",
    weight: 1,
    bites: "stopped",
    happen: async (scene) => {
      await scene.lab.etcd.stop("SIGKILL");
      await scene.lab.etcd.start();
      await scene.put(scene.newPeer());
    },
  },
  {
    // The daemon comes back to a store that does not know any more what it missed.
    kind: "compaction missed",
    weight: 1,
    bites: "itself",
    happen: async (scene) => {
      const { etcd } = scene.lab;
      scene.freeze();
      await etcd.stop("SIGKILL");
      await etcd.start();
      await changePeers(scene);
      await etcd.must("compact", String(await readRevision(etcd)));
      await scene.mustBite("compaction");
      scene.thaw();
    },
  },
  {
    kind: "compaction",
    weight: 1,
    bites: "stopped",
    happen: async (scene) => {
      const { etcd } = scene.lab;
      // Without a change since the last compaction there would be nothing to compact.
      await scene.put(scene.newPeer());
      await etcd.must("compact", String(await readRevision(etcd)));
      await scene.put(scene.newPeer());
    },
  },
];
