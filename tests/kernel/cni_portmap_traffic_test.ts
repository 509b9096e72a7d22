/** portmap with real packets: who reaches a pod by a port of its node, and as whom. */

import assert from "node:assert/strict";
import { Node } from "./node.ts";
import { expect, run } from "./plugins.ts";
import { BACKENDS, type Config, OK } from "./portmap_rows.ts";
import { Netns } from "./sandbox.ts";

const NODE_IP = "192.168.7.1";
const OUTSIDE_IP = "192.168.7.2";
const GATEWAY = "10.1.2.1";

/** A node with a bridge for pods, and a machine beside it. */
class Scene implements Disposable {
  readonly node = new Node();
  readonly outside = new Netns();
  readonly #pods = new DisposableStack();

  constructor() {
    const { node, outside } = this;
    node.run("ip", "link", "add", "up0", "type", "veth", "peer", "eth0", "netns", outside.name);
    node.run("ip", "addr", "add", `${NODE_IP}/24`, "dev", "up0");
    node.run("ip", "link", "set", "up0", "up");
    for (
      const command of [
        `addr add ${OUTSIDE_IP}/24 dev eth0`,
        "link set eth0 up",
        `route add 10.1.2.0/24 via ${NODE_IP}`,
      ]
    ) run("ip", "-n", outside.name, ...command.split(" "));
  }

  /** Attaches a pod with host ports: bridge, then portmap. */
  async pod(id: string, config: Config): Promise<Pod> {
    const netns = this.#pods.use(new Netns());
    const call = async (plugin: string, command: string, members: Config): Promise<Result> =>
      expect(
        await this.node.call({
          plugin,
          env: { CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_NETNS: netns.path },
          config: { cniVersion: "1.0.0", name: "dbnet", ...members },
        }),
        OK,
      );
    const bridge = {
      bridge: "br0",
      isDefaultGateway: true,
      hairpinMode: true,
      ipam: {
        type: "host-local",
        dataDir: `${this.node.bench.dir}/ipam`,
        subnet: "10.1.2.0/24",
      },
    };
    const prevResult = await call("bridge", "ADD", bridge);
    const ports = { ...config, prevResult };
    assert.deepEqual((await call("portmap", "ADD", ports)).ips, prevResult.ips);
    const ip = prevResult.ips[0]?.address.split("/")[0] ?? "";
    return {
      netns,
      ip,
      remove: async () => {
        await call("portmap", "DEL", ports);
        await call("bridge", "DEL", { ...bridge, prevResult });
      },
    };
  }

  [Symbol.dispose](): void {
    this.#pods.dispose();
    this.outside[Symbol.dispose]();
    this.node[Symbol.dispose]();
  }
}

interface Result {
  readonly ips: readonly { readonly address: string }[];
}

interface Pod {
  readonly netns: Netns;
  readonly ip: string;
  remove(): Promise<void>;
}

/** A TCP server that tells every client the address that it sees. */
function whoami(netns: Netns, port: number): Disposable {
  const listener = netns.inside(() => Deno.listen({ hostname: "0.0.0.0", port }));
  void (async () => {
    for await (const connection of listener) {
      const { hostname } = connection.remoteAddr as Deno.NetAddr;
      await connection.write(new TextEncoder().encode(`${hostname}\n`));
      connection.close();
    }
  })().catch(() => {});
  return { [Symbol.dispose]: () => listener.close() };
}

/** What a server tells a client in a namespace; empty when it cannot be reached. */
async function ask(netns: Netns, host: string, port: number): Promise<string> {
  const script = `exec 3<>/dev/tcp/${host}/${port} && cat <&3`;
  const child = netns.inside(() =>
    new Deno.Command("timeout", {
      args: ["5", "bash", "-c", script],
      stdout: "piped",
      stderr: "null",
    }).spawn()
  );
  return new TextDecoder().decode((await child.output()).stdout).trim();
}

for (const backend of BACKENDS) {
  Deno.test(`PM24, PM27, PM28 portmap, ${backend}: TCP from everywhere`, async () => {
    using scene = new Scene();
    const { node, outside } = scene;
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
    const pod = await scene.pod("c1", { backend, runtimeConfig: { portMappings } });
    const other = await scene.pod("c2", { backend });
    const localnet = "/proc/sys/net/ipv4/conf/br0/route_localnet";
    assert.equal(node.run("cat", localnet).trim(), "1");
    {
      using _server = whoami(pod.netns, 80);
      assert.equal(await ask(node.netns, NODE_IP, 8080), NODE_IP);
      assert.equal(await ask(node.netns, "127.0.0.1", 8080), GATEWAY);
      assert.equal(await ask(outside, NODE_IP, 8080), OUTSIDE_IP);
      assert.equal(await ask(pod.netns, NODE_IP, 8080), GATEWAY);
      // iptables masquerades the whole network, nftables the pod itself.
      const seen = backend === "iptables" ? GATEWAY : other.ip;
      assert.equal(await ask(other.netns, GATEWAY, 8080), seen);
    }
    {
      using _server = whoami(outside, 8080);
      assert.equal(await ask(pod.netns, OUTSIDE_IP, 8080), pod.ip);
      assert.equal(await ask(other.netns, OUTSIDE_IP, 8080), other.ip);
      assert.equal(await ask(node.netns, OUTSIDE_IP, 8080), NODE_IP);
    }
    await pod.remove();
    {
      using _server = whoami(pod.netns, 80);
      assert.equal(await ask(outside, NODE_IP, 8080), "");
    }
    await other.remove();
  });

  Deno.test(`PM25 portmap, ${backend}: an open UDP flow finds the next pod at once`, async () => {
    using scene = new Scene();
    const portMappings = [{ hostPort: 5300, containerPort: 53, protocol: "udp" }];
    const config = { backend, runtimeConfig: { portMappings } };
    await using client = new UdpClient(scene.outside, NODE_IP, 5300);
    const first = await scene.pod("c1", config);
    {
      await using _server = await UdpServer.start(first.netns, "first");
      assert.equal(await client.ask(), "first");
    }
    await first.remove();
    assert.equal(await client.ask(), "");
    const second = await scene.pod("c2", config);
    await using _server = await UdpServer.start(second.netns, "second");
    assert.equal(await client.ask(), "second");
    await second.remove();
  });
}

/** A program that is spoken to line by line. */
class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #in: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;

  constructor(netns: Netns, program: string, args: string[]) {
    this.#child = netns.inside(() =>
      new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit" })
        .spawn()
    );
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#in = this.#child.stdin.getWriter();
  }

  async tell(line: string): Promise<void> {
    await this.#in.write(new TextEncoder().encode(`${line}\n`));
  }

  async line(): Promise<string> {
    return ((await this.#lines.read()).value ?? "").trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#in.close();
    await this.#lines.cancel();
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

/** A UDP client that keeps its socket. */
class UdpClient extends Program {
  constructor(netns: Netns, host: string, port: number) {
    const script = `exec 3<>/dev/udp/${host}/${port}
      while read -r _; do
        echo hello >&3; echo "=$(timeout 1 dd bs=64 count=1 2>/dev/null <&3)"
      done`;
    super(netns, "bash", ["-c", script]);
  }

  /** Sends a packet; what came back within a second. */
  async ask(): Promise<string> {
    await this.tell("");
    return (await this.line()).slice(1);
  }
}

/** A UDP server on port 53 that says its name. */
class UdpServer extends Program {
  static async start(netns: Netns, name: string): Promise<UdpServer> {
    const script = `
      const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 53 });
      console.log("ready");
      for await (const [, from] of socket) {
        await socket.send(new TextEncoder().encode("${name}\\n"), from);
      }`;
    const args = ["eval", "--no-config", "--no-lock", "--unstable-net", script];
    const server = new UdpServer(netns, Deno.execPath(), args);
    assert.equal(await server.line(), "ready");
    return server;
  }
}
