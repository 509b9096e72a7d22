/**
 * Real etcds for tests, with data of their own, on ports of the loopback that nobody uses. Only
 * processes that were started here are ever ended.
 *
 * @module
 */

/** How a member differs from a plain one. */
export interface EtcdSetup {
  /** More arguments for etcd. */
  readonly args?: readonly string[];
  /** TLS: certificate and key of the member, and the authority for etcdctl. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
  /** More arguments for etcdctl. */
  readonly ctl?: readonly string[];
  /** What its endpoint is called; `127.0.0.1` unless set. */
  readonly name?: string;
  /** Other addresses to listen on, at the same port. */
  readonly hosts?: readonly string[];
}

interface Place {
  readonly name: string;
  /** All members: `name=peer URL`, separated by commas. */
  readonly cluster: string;
  readonly peer: string;
  readonly timing: readonly string[];
}

/** Alone, a member elects itself after this long; it is also the shortest lease, in its way. */
const ALONE = ["--heartbeat-interval=10", "--election-timeout=100"];
/** On a busy machine members must not take each other for dead. */
const TOGETHER = ["--heartbeat-interval=50", "--election-timeout=500"];

/** One etcd member. Disposing it ends the process and removes its data. */
export class EtcdServer implements AsyncDisposable {
  readonly endpoint: string;
  readonly port = freePort();
  readonly #data = Deno.makeTempDirSync({ prefix: "twill-etcd-" });
  readonly #setup: EtcdSetup;
  readonly #place: Place;
  #ctl: readonly string[];
  #process: Deno.ChildProcess | undefined;

  private constructor(setup: EtcdSetup, place: Place) {
    const { tls, ctl = [] } = setup;
    this.#setup = setup;
    this.#place = place;
    this.endpoint = this.#url(setup.name ?? "127.0.0.1");
    this.#ctl = [...(tls ? [`--cacert=${tls.ca}`] : []), ...ctl];
  }

  /** Starts a member and waits until it answers. */
  static async start(setup: EtcdSetup = {}): Promise<EtcdServer> {
    const peer = `http://127.0.0.1:${freePort()}`;
    const server = new EtcdServer(setup, {
      name: "t",
      cluster: `t=${peer}`,
      peer,
      timing: ALONE,
    });
    await server.start();
    return server;
  }

  /** Starts a cluster of so many members. */
  static async cluster(size: number, setup: EtcdSetup = {}): Promise<EtcdServer[]> {
    const peers = Array.from({ length: size }, () => `http://127.0.0.1:${freePort()}`);
    const cluster = peers.map((peer, i) => `t${i}=${peer}`).join();
    const servers = peers.map((peer, i) =>
      new EtcdServer(setup, { name: `t${i}`, cluster, peer, timing: TOGETHER })
    );
    await Promise.all(servers.map((server) => server.start()));
    return servers;
  }

  /** Starts it again, with the data of before. */
  async start(): Promise<void> {
    const { tls, args = [], hosts = [] } = this.#setup;
    const { name, cluster, peer, timing } = this.#place;
    this.#process = new Deno.Command("etcd", {
      args: [
        `--name=${name}`,
        `--data-dir=${this.#data}/d`,
        `--listen-client-urls=${["127.0.0.1", ...hosts].map((host) => this.#url(host)).join()}`,
        `--advertise-client-urls=${this.endpoint}`,
        `--listen-peer-urls=${peer}`,
        `--initial-advertise-peer-urls=${peer}`,
        `--initial-cluster=${cluster}`,
        ...(tls ? [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`] : []),
        ...timing,
        "--logger=zap",
        "--log-level=error",
        ...args,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    for (let tries = 0; tries < 100; tries++) {
      const { code } = await this.#run(["--command-timeout=1s", "get", "ready"]);
      if (code === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("etcd does not answer");
  }

  /** Sends the process a signal: SIGSTOP and SIGCONT leave it alive. */
  signal(signal: Deno.Signal): void {
    this.#process?.kill(signal);
  }

  /** Ends the process; its data stay. */
  async stop(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (process === undefined) return;
    process.kill("SIGKILL");
    await process.status;
  }

  /** What etcdctl says of itself from now on: a user, for instance. */
  as(...args: readonly string[]): void {
    this.#ctl = [...this.#ctl, ...args];
  }

  /** Runs etcdctl, which must succeed; what it printed. */
  async ctl(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#run(args);
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    if (code !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${text(stderr)}`);
    return text(stdout);
  }

  /** All keys that begin with the prefix, as etcdctl sees them, with their leases in hex. */
  async dump(prefix: string): Promise<{ key: string; value: string; lease: bigint }[]> {
    const text = await this.ctl("get", "--prefix", prefix, "-w", "json");
    // Lease ids have 63 bits: more than JSON.parse can hold.
    const { kvs = [] } = JSON.parse(text.replace(/"lease":(\d+)/g, '"lease":"$1"'));
    return kvs.map((kv: Record<string, string>) => ({
      key: atob(kv.key ?? ""),
      value: new TextDecoder().decode(
        Uint8Array.from(atob(kv.value ?? ""), (c) => c.charCodeAt(0)),
      ),
      lease: BigInt(kv.lease ?? 0),
    }));
  }

  /** Forgets the history up to the present. */
  async compact(): Promise<void> {
    const status = JSON.parse(await this.ctl("endpoint", "status", "-w", "json"));
    await this.ctl("compact", String(status[0].Status.header.revision));
  }

  /** True when this member leads its cluster. */
  async leads(): Promise<boolean> {
    const { code, stdout } = await this.#run(["endpoint", "status", "-w", "json"]);
    if (code !== 0) return false;
    // Ids have 64 bits: as text they stay exact.
    const text = new TextDecoder().decode(stdout);
    const id = (name: string): string | undefined => new RegExp(`"${name}":(\\d+)`).exec(text)?.[1];
    return id("member_id") === id("leader");
  }

  /** How often each gRPC method was called since the start, by its name. */
  async requests(): Promise<Map<string, number>> {
    const answer = await fetch(`${this.endpoint}/metrics`);
    const lines = (await answer.text()).matchAll(
      /^grpc_server_started_total\{grpc_method="(\w+)".*\} (\d+)$/gm,
    );
    const counts = new Map<string, number>();
    // Several services have a method of one name.
    for (const [, name = "", count] of lines) {
      counts.set(name, (counts.get(name) ?? 0) + Number(count));
    }
    return counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Deno.remove(this.#data, { recursive: true });
  }

  #url(host: string): string {
    return `${this.#setup.tls ? "https" : "http"}://${host}:${this.port}`;
  }

  #run(args: readonly string[]): Promise<Deno.CommandOutput> {
    return new Deno.Command("etcdctl", {
      args: [`--endpoints=${this.endpoint}`, ...this.#ctl, ...args],
      env: { ETCDCTL_API: "3" },
      stdin: "null",
    }).output();
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
