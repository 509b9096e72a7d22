/**
 * Backends whose drivers the test machine's kernel may lack, on a kernel of their own (see
 * `machine.ts`). A long form: only `tools/test --full` starts virtual machines.
 */

import assert from "node:assert/strict";
import { until } from "../command.ts";
import { FAULTS, sufferAll } from "./faults.ts";
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
  const peers = await one.machine.must("twill inspect peers");
  assert.match(peers, / 192\.0\.2\.2:51820 +\d+s ago +[\d.]+ K?i?B .* flannel-wg +ok\n/);
  const way = await one.machine.must(`twill inspect trace node ${pods[1]}`);
  assert.match(way, /^wireguard +flannel-wg +encrypted for .* at 192\.0\.2\.2:51820 /m);
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

onPair("wireguard: whatever is broken is put right", async () => {
  await sufferAll(pair, pods, FAULTS.wireguard);
});

onPair("wireguard: pods talk while the daemon is away; it takes its device up again", async () => {
  const [one] = pair.nodes;
  const index = await one.machine.must("cat /sys/class/net/flannel-wg/ifindex");
  const key = await one.machine.must("wg show flannel-wg public-key");
  const ping = "ip netns exec pod ping -c3 -i0.2 -W5 ";
  await one.down("KILL");
  assert.match(await one.machine.must(`${ping}${pods[1]}`), / 0% packet loss/);
  await one.up("twill");
  assert.match(await one.machine.must(`${ping}${pods[1]}`), / 0% packet loss/);
  assert.equal(await one.machine.must("cat /sys/class/net/flannel-wg/ifindex"), index);
  assert.equal(await one.machine.must("wg show flannel-wg public-key"), key);
  assert.equal((await one.machine.must("wg show flannel-wg peers")).trim().split("\n").length, 1);
});

for (const Mode of ["separate", "auto", "ipv4", "ipv6"]) {
  onPair(
    `wireguard: mode ${Mode}, both families, beside flanneld and among ourselves`,
    async () => {
      for (const daemon of ["flanneld", "twill"] as const) {
        await pair.network({ Type: "wireguard", PSK, Mode }, { dual: true });
        await pair.connect("twill", daemon);
        const endpoints = await pair.nodes[0].machine.must("wg show all endpoints");
        const outer = {
          separate: ["192.0.2.2:51820", "[2001:db8::2]:51821"],
          auto: ["192.0.2.2:51820"],
          ipv4: ["192.0.2.2:51820"],
          ipv6: ["[2001:db8::2]:51820"],
        }[Mode];
        assert.deepEqual(endpoints.trim().split("\n").map((line) => line.split("\t")[2]), outer);
      }
    },
  );
}

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
  await pair.nodes[0].reaches((await two.pod())[0] ?? "");
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

onPair("ipip: beside flanneld", async () => {
  await pair.network({ Type: "ipip" });
  await pair.connect("twill", "flanneld");
});

onPair("ipip: two nodes of twill; whatever is broken is put right", async () => {
  await pair.network({ Type: "ipip" });
  pods = await pair.connect("twill", "twill");
  assert.match(await pair.nodes[0].machine.must("ip route"), /via 192\.0\.2\.2 dev flannel\.ipip /);
  await sufferAll(pair, pods, FAULTS.ipip);
});

onPair("ipip: a neighbour's packets need no outer header with DirectRouting", async () => {
  await pair.network({ Type: "ipip", DirectRouting: true });
  await pair.connect("twill", "flanneld");
  for (const { machine } of pair.nodes) {
    assert.match(await machine.must("ip route"), /^10\.244\.\S+ via 192\.0\.2\.\d dev eth0 /m);
  }
});

onPair("another backend moves its routes; nothing is deleted by hand", async () => {
  const [one, two] = pair.nodes;
  await pair.network({ Type: "vxlan" });
  pods = await pair.connect("twill", "twill");
  const net = `${await two.subnet()}.0/24`;
  // To and from udp: tests/lab/backends_test.ts; these machines have no tun.
  const ways: readonly (readonly [string, RegExp])[] = [
    ["wireguard", / dev flannel-wg /],
    ["ipip", / via 192\.0\.2\.2 dev flannel\.ipip /],
    ["host-gw", / via 192\.0\.2\.2 dev eth0 /],
    ["wireguard", / dev flannel-wg /],
    ["vxlan", / dev flannel\.1 /],
  ];
  for (const [Type, way] of ways) {
    await Promise.all([one.down(), two.down()]);
    // A slow etcd is to be waited for: the last snapshot would bring the last backend.
    for (const { machine } of pair.nodes) await machine.must("rm -f /var/lib/twill/snapshot.json");
    await pair.configure({ Type });
    await Promise.all([one.up("twill"), two.up("twill")]);
    await one.reaches(pods[1]);
    await two.reaches(pods[0]);
    assert.equal(`${await two.subnet()}.0/24`, net, `${Type}: the subnet is kept`);
    assert.match(await one.machine.must(`ip route get ${pods[1]}`), way, Type);
    // The longest network wins, so that one of the others would show here alone.
    const others = await one.machine.must("ip route show to root 10.244.0.0/16 proto 146");
    assert.equal(others.trim().split("\n").length, 1, `${Type}: ${others}`);
  }
});
