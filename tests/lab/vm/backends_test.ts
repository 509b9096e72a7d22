/**
 * Backends whose drivers the test machine's kernel may lack, on a kernel of their own (see
 * `machine.ts`). A long form: only `tools/test --full` starts virtual machines.
 */

import assert from "node:assert/strict";
import { until } from "../command.ts";
import { note } from "../notes.ts";
import { Pair } from "./pair.ts";

const PSK = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

const FULL = Deno.env.get("TWILL_FULL") === "1";

let pair: Pair;

Deno.test.beforeAll(async () => {
  if (FULL) pair = await Pair.create();
});
Deno.test.afterAll(async () => {
  await pair?.[Symbol.asyncDispose]();
});

/** A test on the machines of the tests before. */
function onPair(name: string, run: () => Promise<void>): void {
  if (!FULL) return;
  Deno.test(`virtual machines: ${name}`, async () => {
    try {
      await run();
    } catch (cause) {
      throw await pair.explain(cause);
    }
  });
}

let pods: readonly [string, string];

onPair("wireguard: two nodes of twill form an overlay", async () => {
  await pair.network({ Type: "wireguard", PSK, PersistentKeepaliveInterval: 25 });
  pods = await pair.connect("twill", "twill");
  const [one, two] = pair.nodes;
  const shown = await one.machine.must("wg show flannel-wg");
  assert.match(shown, /listening port: 51820/);
  assert.match(shown, /preshared key: \(hidden\)/);
  assert.match(shown, /endpoint: 192\.0\.2\.2:51820/);
  assert.match(shown, /latest handshake: /);
  assert.match(shown, new RegExp(`allowed ips: ${await two.subnet()}\\.0/24\n`));
  assert.match(shown, /persistent keepalive: every 25 seconds/);
  assert.match(await one.machine.must("cat /run/flannel/subnet.env"), /FLANNEL_MTU=1420\n/);
  assert.match(await one.machine.must("ip link show flannel-wg"), / mtu 1420 /);
});

onPair("wireguard: secrets lie in two files of root's, and nowhere else", async () => {
  const [one] = pair.nodes;
  const files = await one.machine.must("cd /var/lib/twill && stat -c '%a %n' wireguard-*");
  assert.equal(files, "600 wireguard-key\n600 wireguard-psk\n");
  for (const file of ["key", "psk"]) {
    // In nothing that was written, logged or is told on the socket.
    const found = await one.machine.run(
      `secret=$(cat /var/lib/twill/wireguard-${file}); twill inspect status -o json >/tmp/told; ` +
        `grep -rslF "$secret" /run /tmp /var/lib | grep -v -e /wireguard- -e /etcd/ -e /.script`,
    );
    assert.equal(found.text, "");
  }
});

onPair("wireguard: a deleted device comes back, with its peers", async () => {
  const [one] = pair.nodes;
  await one.machine.must("ip link del flannel-wg");
  note(
    `wireguard, device deleted: pods reach each other after ${
      (await one.reaches(pods[1])).toFixed(1)
    } s (software emulation)`,
  );
});

onPair("wireguard: a peer and a key changed by hand are put right", async () => {
  const [one] = pair.nodes;
  const peers = await one.machine.must("wg show flannel-wg peers");
  await one.machine.must(`wg set flannel-wg listen-port 4000 peer ${peers.trim()} remove`);
  await one.reaches(pods[1]);
  assert.equal(await one.machine.must("wg show flannel-wg peers"), peers);
  assert.equal(await one.machine.must("wg show flannel-wg listen-port"), "51820\n");
});

onPair("wireguard: pods talk while the daemon is away; it takes its device up again", async () => {
  const [one] = pair.nodes;
  const index = await one.machine.must("cat /sys/class/net/flannel-wg/ifindex");
  const key = await one.machine.must("wg show flannel-wg public-key");
  const ping = "ip netns exec pod ping -c3 -i0.2 -W5 ";
  await one.down();
  assert.match(await one.machine.must(`${ping}${pods[1]}`), / 0% packet loss/);
  await one.up("twill");
  assert.match(await one.machine.must(`${ping}${pods[1]}`), / 0% packet loss/);
  assert.equal(await one.machine.must("cat /sys/class/net/flannel-wg/ifindex"), index);
  assert.equal(await one.machine.must("wg show flannel-wg public-key"), key);
  assert.equal((await one.machine.must("wg show flannel-wg peers")).trim().split("\n").length, 1);
});

onPair("wireguard: beside flanneld", async () => {
  await pair.network({ Type: "wireguard", PSK });
  await pair.connect("twill", "flanneld");
});

onPair("wireguard: flannel's key, device and route are taken over", async () => {
  const [, two] = pair.nodes;
  const key = await two.machine.must("wg show flannel-wg public-key; rm -r /var/lib/twill");
  // Killed, it leaves all of it.
  await two.down("KILL");
  const index = await two.machine.must("cat /sys/class/net/flannel-wg/ifindex");
  await two.up("twill");
  await pair.nodes[0].reaches(await two.pod());
  assert.equal(await two.machine.must("wg show flannel-wg public-key"), key);
  assert.equal(await two.machine.must("cat /sys/class/net/flannel-wg/ifindex"), index);
  assert.equal(await two.machine.must("ip route show 10.244.0.0/16"), "");
});

onPair("wireguard: a node that leaves is forgotten", async () => {
  const [one, two] = pair.nodes;
  await two.down();
  await pair.etcdctl(`del /coreos.com/network/subnets/${await two.subnet()}.0-24`);
  await until(
    "its peer is gone",
    async () => (await one.machine.must("wg show flannel-wg peers")) === "",
    { seconds: 60 },
  );
});

onPair("ipip: two nodes of twill, and one of flanneld's", async () => {
  await pair.network({ Type: "ipip" });
  await pair.connect("twill", "twill");
  await pair.network({ Type: "ipip" });
  await pair.connect("twill", "flanneld");
});
