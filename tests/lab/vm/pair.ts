/**
 * Two virtual machines as nodes of one cluster: an etcd on the first, on each a pod, and any of the
 * two daemons.
 *
 * @module
 */

import { must, until } from "../command.ts";
import { writeArchive } from "./archive.ts";
import { Machine } from "./machine.ts";

/** Which program makes a node's network. */
export type Daemon = "twill" | "flanneld";

/** Where `tools/peers vm` left the packages. */
const PACKAGES = `${
  Deno.env.get("TWILL_CACHE") ??
    `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/twill`
}/vm`;

const ETCD = "http://192.0.2.1:2379";
const COMMANDS: Readonly<Record<Daemon, string>> = {
  twill: "twill daemon --healthz-port=0",
  flanneld: "flanneld",
};

/** The modules that the tests' backends need, pods and the daemon's rules. */
const MODULES = [
  ...["virtio_pci", "virtio_net", "veth", "wireguard", "ipip", "tun", "vxlan"],
  ...["nf_tables", "nft_chain_nat", "nft_masq", "nft_ct"],
  // flanneld does not start without it.
  "br_netfilter",
];

/** A node: its machine, and what was started there. */
export class VmNode {
  readonly machine: Machine;
  readonly ip: string;
  #running: Daemon | undefined;

  constructor(machine: Machine, ip: string) {
    this.machine = machine;
    this.ip = ip;
  }

  /** Starts a daemon, and waits until it says that the node is ready. */
  async up(daemon: Daemon): Promise<void> {
    // So that its presence tells; the lease is in etcd under the node's address.
    await this.machine.must("rm -f /run/flannel/subnet.env");
    await this.machine.start(
      daemon,
      `${COMMANDS[daemon]} --etcd-endpoints=${ETCD} --iface=eth0 --iptables-forward-rules=false`,
    );
    this.#running = daemon;
    await this.#until("is ready", "cat /run/flannel/subnet.env");
  }

  /** Ends the daemon. */
  async down(signal?: "TERM" | "KILL"): Promise<void> {
    if (this.#running !== undefined) await this.machine.stop(this.#running, signal);
    this.#running = undefined;
  }

  /** Lets the daemon stand still, or go on. */
  async signal(name: "STOP" | "CONT"): Promise<void> {
    await this.machine.must(`kill -${name} $(cat /tmp/${this.#running}.pid)`);
  }

  async #env(name: string): Promise<string | undefined> {
    const env = await this.machine.must("cat /run/flannel/subnet.env");
    return new RegExp(`^FLANNEL_${name}=(.*)$`, "m").exec(env)?.[1];
  }

  /** The first three numbers of the node's subnet. */
  async subnet(): Promise<string> {
    return (await this.#env("SUBNET"))?.replace(/\.1\/24$/, "") ?? "";
  }

  /**
   * Makes the node's pod anew: a namespace `pod` with the second address of each subnet.
   *
   * @returns IPv4, then IPv6 where the network has it.
   */
  async pod(): Promise<readonly string[]> {
    const net = await this.subnet();
    const mtu = await this.#env("MTU");
    const net6 = (await this.#env("IPV6_SUBNET"))?.replace(/1\/64$/, "");
    await this.machine.must(`
      ip netns del pod 2>/dev/null; ip link del host0 2>/dev/null
      set -e
      echo 1 >/proc/sys/net/ipv4/ip_forward
      ip netns add pod
      ip link add host0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns pod
      ip addr add ${net}.1/24 dev host0
      ip link set host0 up
      ip -n pod addr add ${net}.2/24 dev eth0
      ip -n pod link set eth0 up
      ip -n pod link set lo up
      ip -n pod route add default via ${net}.1`);
    if (net6 === undefined) return [`${net}.2`];
    await this.machine.must(`
      set -e
      echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
      ip addr add ${net6}1/64 dev host0 nodad
      ip -n pod addr add ${net6}2/64 dev eth0 nodad
      ip -n pod route add default via ${net6}1`);
    return [`${net}.2`, `${net6}2`];
  }

  /** Waits until this node's pod reaches another, and returns how long that took, seconds. */
  async reaches(pod: string): Promise<number> {
    const began = performance.now();
    await this.#until(`reaches ${pod}`, `ip netns exec pod ping -c1 -W1 ${pod}`);
    return (performance.now() - began) / 1000;
  }

  async #until(what: string, script: string): Promise<void> {
    await until(
      `${this.machine.name} ${what}`,
      async () => (await this.machine.run(script)).code === 0,
      { seconds: 180, every: 200 },
    );
  }

  /** What the daemons and the kernel have said, for a failure. */
  async logs(): Promise<string> {
    const { text } = await this.machine.run(
      "tail -n 15 /tmp/twill.log /tmp/flanneld.log; ip addr; ip route; wg show",
    );
    return `${this.machine.name}:\n${text}`;
  }
}

/** See the module. */
export class Pair implements AsyncDisposable {
  readonly nodes: readonly [VmNode, VmNode];
  readonly #stack: AsyncDisposableStack;

  private constructor(nodes: readonly [VmNode, VmNode], stack: AsyncDisposableStack) {
    this.nodes = nodes;
    this.#stack = stack;
  }

  /** Starts the machines, their cable and etcd. */
  static async create(): Promise<Pair> {
    await using undo = new AsyncDisposableStack();
    const dir = await Deno.makeTempDir();
    undo.defer(() => Deno.remove(dir, { recursive: true }));
    const archive = `${dir}/archive`;
    const here = (name: string): Promise<string> =>
      must(["sh", "-c", `command -v ${name}`]).then((text) => text.trim());
    await writeArchive(archive, {
      packages: PACKAGES,
      programs: [
        Deno.env.get("TWILL_BIN") ?? new URL("../../../dist/twill", import.meta.url).pathname,
        ...await Promise.all(
          ["ip", "wg", "nft", "iperf3", "etcd", "etcdctl", "flanneld"].map(here),
        ),
      ],
      modules: MODULES,
      init: new URL("init.sh", import.meta.url).pathname,
    });
    const path = `${dir}/cable`;
    const start = async (name: string, end: "first" | "second", ip: string): Promise<VmNode> => {
      const machine = undo.use(
        await Machine.start({ name, packages: PACKAGES, archive, cable: { path, end } }),
      );
      await machine.must(
        `modprobe br_netfilter; hostname ${name}; ip addr add ${ip}/24 dev eth0; ` +
          `ip addr add 2001:db8::${ip.slice(-1)}/64 dev eth0 nodad; ip link set eth0 up; ` +
          "ip route add default via 192.0.2.254; ip route add default via 2001:db8::254",
      );
      return new VmNode(machine, ip);
    };
    const nodes = await Promise.all([
      start("one", "first", "192.0.2.1"),
      start("two", "second", "192.0.2.2"),
    ]);
    await nodes[0].machine.start(
      "etcd",
      `etcd --data-dir=/tmp/etcd --unsafe-no-fsync --listen-client-urls=${ETCD} ` +
        `--advertise-client-urls=${ETCD}`,
    );
    return new Pair(nodes, undo.move());
  }

  /** Asks etcd. */
  async etcdctl(args: string): Promise<string> {
    const command = `ETCDCTL_API=3 etcdctl --endpoints=${ETCD} ${args}`;
    return await until("etcd answers", () => this.nodes[0].machine.must(command), { seconds: 60 });
  }

  /** A network of its own: no daemon, device or lease is left of the one before. */
  async network(
    backend: Readonly<Record<string, unknown>>,
    { dual = false }: { readonly dual?: boolean } = {},
  ): Promise<void> {
    for (const node of this.nodes) {
      await node.down();
      await node.machine.run(
        "for dev in flannel-wg flannel-wg-v6 flannel.ipip flannel.1; do ip link del $dev; done 2>/dev/null; " +
          "rm -rf /run/flannel /var/lib/twill/snapshot.json",
      );
    }
    await this.etcdctl("del --prefix /coreos.com/network");
    await this.configure(backend, { dual });
  }

  /** Changes the network's configuration; daemons that run do not look at it. */
  async configure(
    backend: Readonly<Record<string, unknown>>,
    { dual = false }: { readonly dual?: boolean } = {},
  ): Promise<void> {
    const config = JSON.stringify({
      Network: "10.244.0.0/16",
      ...(dual ? { EnableIPv6: true, IPv6Network: "fd00:244::/48" } : {}),
      Backend: backend,
    });
    await this.etcdctl(`put /coreos.com/network/config '${config}'`);
  }

  /**
   * Puts daemons on the nodes, and a pod on each; both ways must work, in all families.
   *
   * @returns the pods' IPv4 addresses
   */
  async connect(first: Daemon, second: Daemon): Promise<readonly [string, string]> {
    const [one, two] = this.nodes;
    await Promise.all([one.up(first), two.up(second)]);
    const pods = [await one.pod(), await two.pod()] as const;
    for (const ip of pods[1]) await one.reaches(ip);
    for (const ip of pods[0]) await two.reaches(ip);
    return [pods[0][0] ?? "", pods[1][0] ?? ""];
  }

  /**
   * Megabits a second of one TCP connection between the pods.
   *
   * @param pods what {@link connect} returned
   */
  async throughput(pods: readonly [string, string], seconds: number): Promise<number> {
    const [one, two] = this.nodes;
    await two.machine.start("iperf", "ip netns exec pod iperf3 -s");
    try {
      const client = `ip netns exec pod iperf3 -J -c ${pods[1]} -t ${seconds}`;
      return await until("iperf3 has measured", async () => {
        const { end, error } = JSON.parse(await one.machine.must(client, 60 + seconds));
        if (end?.sum_received === undefined) throw new Error(error);
        return end.sum_received.bits_per_second / 1e6;
      }, { seconds: 60, every: 500 });
    } finally {
      await two.machine.stop("iperf");
    }
  }

  /** A test on the pair, with all logs where it fails. */
  async explain(cause: unknown): Promise<Error> {
    const logs = await Promise.all(this.nodes.map((node) => node.logs().catch(String)));
    const words = cause instanceof Error ? cause.message : String(cause);
    return new Error([words, ...logs].join("\n\n"), { cause });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
