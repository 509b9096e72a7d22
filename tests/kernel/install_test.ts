/** install and uninstall on a node: pods work in between, and nothing is left behind. */

import assert from "node:assert/strict";
import { PLUGIN_NAMES } from "../../cni/names.ts";
import {
  BIN,
  done,
  installedList,
  installTest,
  LIST,
  look,
  steps,
  SUBNET_ENV,
  twill,
  unchanged,
} from "./install_node.ts";
import type { Node } from "../lab/node.ts";

const HOST_PORT = {
  portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }],
};

/** What a daemon would tell the plugins. */
async function tellSubnet(node: Node): Promise<void> {
  await node.must(["mkdir", "-p", "/run/flannel"]);
  node.write("/run/flannel/subnet.env", SUBNET_ENV);
}

const LEASES = `config: { Network: 10.244.0.0/16, Backend: { Type: vxlan } }
nodes:
  - { name: solo, publicIP: 192.168.200.11, subnet: 10.244.7.0/24 }
  - { name: other, publicIP: 192.168.200.12, subnet: 10.244.8.0/24, backendData: { VNI: 1, VtepMAC: "02:00:00:00:00:08" } }
`;

installTest(
  "install: pods by the stock list, with a daemon; uninstall leaves no trace",
  async (node) => {
    await node.must(["sh", "-c", `mkdir -p ${BIN} /etc/twill && echo reference >${BIN}/portmap`]);
    node.write("/etc/twill/leases.yaml", LEASES);
    const before = await look(node);
    done(await twill(node, "install"));
    const client = Deno.readFileSync(new URL("../../dist/embed/cni_client", import.meta.url));
    for (const name of PLUGIN_NAMES) {
      assert.deepEqual(Deno.readFileSync(node.path(`${BIN}/${name}`)), client);
    }

    const flags = ["--lease-file=/etc/twill/leases.yaml", "--node-name=solo", "--ip-masq"];
    const daemon = await node.startDaemon({
      flags: [...flags, "--healthz-port=8090"],
      program: [`${BIN}/twill`, "daemon"],
    });
    await node.ready();
    const pod = await node.addPod("pod", { list: installedList(node), capabilityArgs: HOST_PORT });
    done(await node.execInPod("pod", ["ping", "-c1", "-W5", "10.244.7.1"]));

    const running = await twill(node, "uninstall", "--force");
    assert.equal(running.code, 1);
    assert.match(running.stderr, /^Cannot uninstall: twill daemon runs \(pid \d+\)/m);
    await daemon.stop();
    const during = await look(node);
    for (const args of [["uninstall"], ["uninstall", "--dry-run"]]) {
      const refused = await twill(node, ...args);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /^Cannot uninstall: a pod is alive on cni0 \(veth\w+\)/m);
      await unchanged(node, during);
    }

    await node.delPod(pod);
    const dry = done(await twill(node, "uninstall", "--dry-run"));
    for (const thing of ["device +flannel\\.1", "device +cni0", "nft +table inet twill"]) {
      assert.match(dry, new RegExp(`^${thing}$`, "m"));
    }
    // The very program that goes.
    const out = done(await node.exec([`${BIN}/twill`, "uninstall"]));
    assert.deepEqual(steps(out), steps(dry));
    await unchanged(node, before);
    assert.equal(done(await twill(node, "uninstall")), "Nothing of twill is here\n");
  },
);

installTest("uninstall --force: with a live pod, whose rules and records go too", async (node) => {
  const before = await look(node);
  done(await twill(node, "install"));
  await tellSubnet(node);
  await node.addPod("pod", { list: installedList(node), capabilityArgs: HOST_PORT });
  const dry = done(await twill(node, "uninstall", "--dry-run", "--force"));
  assert.match(dry, /^device +veth\w+$/m);
  assert.deepEqual(steps(done(await twill(node, "uninstall", "--force"))), steps(dry));
  await unchanged(node, before);
  const inPod = await node.must(["ip", "-n", "pod", "-br", "link"]);
  assert.doesNotMatch(inPod, /eth0/);
});

/** What flannel's daemons and plugins of all times left on a node that never had twill. */
const FLANNEL = `
ip link add flannel.1 type vxlan id 1 dstport 8472 local 192.168.200.11 nolearning
ip link set flannel.1 up
ip route add 10.244.8.0/24 via 10.244.8.0 dev flannel.1 onlink
ip link add flannel-v6.1 type vxlan id 1 dstport 8473 local 192.168.200.11 nolearning
ip link add cni0 type bridge
ip address add 10.244.7.1/24 dev cni0
ip link set cni0 up
ip route add 10.244.9.0/24 via 192.168.200.12
ip route add blackhole 10.244.7.0/24 metric 7
iptables -t nat -N FLANNEL-POSTRTG
iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
iptables -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
iptables -N FLANNEL-FWD
iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
iptables -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
iptables -A FORWARD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
ip6tables -t nat -N FLANNEL-POSTRTG
ip6tables -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
nft add table ip flannel-ipv4
nft add chain ip flannel-ipv4 forward '{ type filter hook forward priority 0; }'
nft add table ip6 flannel-ipv6
mkdir -p /run/flannel /var/lib/cni/flannel /var/lib/cni/networks/cbr0
echo c1 >/var/lib/cni/networks/cbr0/10.244.7.2
echo '{}' >/var/lib/cni/flannel/c1
`;

installTest("uninstall: flannel's leftovers of every version, and nothing else", async (node) => {
  const others = `
    iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
    iptables -A FORWARD -s 10.244.0.0/16 -m comment --comment mine -j ACCEPT
    ip6tables -t nat -A POSTROUTING -s fd00::/64 -j MASQUERADE
    ip link add br7 type bridge
    ip route add 10.96.0.0/12 via 192.168.200.12
    mkdir -p /var/lib/cni/networks/podman
    echo c9 >/var/lib/cni/networks/podman/10.88.0.2`;
  await node.must(["sh", "-ec", others]);
  const before = await look(node);
  await node.must(["sh", "-ec", FLANNEL]);
  await tellSubnet(node);
  const dry = done(await twill(node, "uninstall", "--dry-run"));
  assert.deepEqual(steps(done(await twill(node, "uninstall"))), steps(dry));
  await unchanged(node, before);
});

installTest("install: a full disk: an error, and nothing is changed", async (node) => {
  await node.must(["sh", "-ec", `mkdir -p ${BIN}; mount -t tmpfs -o size=4m tmpfs ${BIN}`]);
  await refuses(node, /^Cannot write \S+\/twill: No space left on device.*\nMake room/m);
});

installTest("install: a read-only directory: an error, and nothing is changed", async (node) => {
  await node.must([
    "sh",
    "-ec",
    "mkdir -p /etc/cni/net.d; mount -t tmpfs -o ro tmpfs /etc/cni/net.d",
  ]);
  await refuses(node, /^Cannot write \S+\.conflist: Read-only file system.*\n.*read-only: choose/m);
});

async function refuses(node: Node, words: RegExp): Promise<void> {
  const before = await look(node);
  const left = await twill(node, "install");
  assert.match(left.stderr, words);
  assert.equal(left.code, 1);
  await unchanged(node, before);
}

installTest("uninstall: what cannot go is named, and another attempt finishes it", async (node) => {
  const before = await look(node);
  done(await twill(node, "install"));
  await node.must(["sh", "-ec", "mkdir /run/flannel; mount -t tmpfs tmpfs /run/flannel"]);
  const left = await twill(node, "uninstall");
  assert.equal(left.code, 1);
  assert.match(left.stderr, /^warning: directory +\/run\/flannel .*busy/im);
  assert.match(left.stderr, /^warning: \/var\/lib\/twill stays/m);
  assert.equal(node.read(LIST), undefined);
  await node.must(["umount", "/run/flannel"]);
  done(await twill(node, "uninstall"));
  await unchanged(node, before);
});

/** Stands for systemd: notes what it is asked, and fails at what it is told to. */
const SYSTEMCTL = `#!/bin/sh
echo "$*" >>/run/calls
[ ! -e /run/fails ] || ! grep -qx "$1" /run/fails || { echo "Job failed, see journal" >&2; exit 1; }
`;

async function bootSystemd(node: Node): Promise<void> {
  await node.must(["mkdir", "-p", "/run/systemd/system"]);
  node.write("/usr/local/bin/systemctl", SYSTEMCTL);
  await node.must(["chmod", "755", "/usr/local/bin/systemctl"]);
}

/** What systemd was asked since the last look. */
async function asked(node: Node): Promise<string[]> {
  const calls = node.read("/run/calls")?.trim().split("\n") ?? [];
  await node.must(["rm", "-f", "/run/calls"]);
  return calls;
}

installTest(
  "install --systemd: the daemon is enabled, started, restarted, stopped",
  async (node) => {
    await bootSystemd(node);
    const before = await look(node);
    const install = ["install", "--systemd", "--", "--ip-masq"];
    done(await twill(node, ...install));
    const started = ["daemon-reload", "enable twill.service"];
    assert.deepEqual(await asked(node), [...started, "restart --no-block twill.service"]);
    assert.match(done(await twill(node, ...install)), /^Everything was in its place/);
    assert.deepEqual(await asked(node), [...started, "start --no-block twill.service"]);
    done(await twill(node, ...install, "--v=1"));
    assert.deepEqual(await asked(node), [...started, "restart --no-block twill.service"]);
    assert.match(done(await twill(node, "uninstall")), /^unit +twill\.service/m);
    assert.deepEqual(await asked(node), ["disable --now twill.service", "daemon-reload"]);
    await unchanged(node, before);
  },
);

installTest("install --systemd: a daemon that does not start: all is taken back", async (node) => {
  await bootSystemd(node);
  node.write("/run/fails", "restart\n");
  const before = await look(node);
  const left = await twill(node, "install", "--systemd");
  assert.equal(left.code, 1);
  assert.match(
    left.stderr,
    /^Cannot run systemctl restart --no-block twill\.service: Job failed, see journal$/m,
  );
  assert.deepEqual((await asked(node)).slice(3), ["disable --now twill.service", "daemon-reload"]);
  await unchanged(node, before);
});
