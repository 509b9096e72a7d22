/**
 * Cases for bridge as data: calls on a node of their own, what each must answer, and what must be
 * in the kernel then.
 *
 * @module
 */

import assert from "node:assert/strict";
import { libc } from "../../ffi/libc.ts";
import { within } from "../../ffi/netns.ts";
import { Bench, expect, type PluginCall, type Reply, run, type Want } from "./plugins.ts";

/** An object. */
export type Json = Readonly<Record<string, unknown>>;
/** One object of `ip -j`; each case looks at the few members it names. */
// deno-lint-ignore no-explicit-any
export type Shown = any;

/** Success is wanted. */
export const OK: Want = { ok: true };

/** The bridge's name unless a case says otherwise. */
export const BRIDGE = "br0";

/**
 * IPAM plugins that are scripts: what they do for ADD. All others succeed. Each keeps the names of
 * the commands that it got.
 */
const FAKES = {
  "ipam-empty": `echo '{"cniVersion":"1.0.0"}'`,
  "ipam-busy": `echo '{"code":11,"msg":"come back later","details":"pool is busy"}'; exit 1`,
  "ipam-dies": "echo out of paper >&2; kill -9 $$",
  "ipam-bad-route":
    `echo '{"ips":[{"address":"10.1.2.9/24"}],"routes":[{"dst":"10.5.0.0/16","gw":"192.0.2.1"}]}'`,
} as const;

/** One call, and what is wanted of it. */
export interface Step {
  readonly command: "ADD" | "DEL" | "CHECK" | "GC" | "STATUS";
  readonly id?: string;
  readonly ifname?: string;
  /**
   * `CNI_NETNS`; absent: the namespace of the pod `id`, made when first named. `STALE` is a plain
   * file, such as a namespace leaves behind when it is unmounted.
   */
  readonly netns?: string;
  /** Subnets, one range set each; absent: 10.1.2.0/24; empty: no IPAM (`"ipam": {}`). */
  readonly nets?: readonly string[];
  /** More members of `ipam`; `RESOLV` stands for a file with a name server. */
  readonly ipam?: Json;
  /** Members beside `ipam`. */
  readonly config?: Json;
  /** `CNI_ARGS`. */
  readonly args?: string;
  /** prevResult; absent: for CHECK, and DEL from 0.4.0 on, what ADD of this interface gave. */
  readonly prev?: unknown;
  readonly want: Want;
  /** Words on stderr are fine. */
  readonly logs?: true;
  /** Looks at the answer and at the kernel. */
  readonly see?: (seen: Seen) => void | Promise<void>;
  /**
   * Commands for the node just before, without quotes; `POD` is the pod's name, `STORE` the folder
   * of host-local's addresses.
   */
  readonly before?: readonly string[];
}

/** One case. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly steps: readonly Step[];
}

/** An ADD that succeeds. */
export function add(see?: Step["see"], rest: Partial<Step> = {}): Step {
  return { command: "ADD", want: OK, ...(see === undefined ? {} : { see }), ...rest };
}

/** An ADD that is refused with these words. */
export function refused(words: readonly (string | RegExp)[], rest: Partial<Step> = {}): Step {
  return { command: "ADD", want: { code: 999, words }, ...rest };
}

/** Another command, or an ADD, that succeeds unless `rest` says otherwise. */
export function command(name: Step["command"], rest: Partial<Step> = {}): Step {
  return { command: name, want: OK, ...rest };
}

/** A node: a namespace in which plugins run, with pods around it. */
export class BridgeNode extends Bench {
  /** Path of the namespace. */
  readonly path: string = this.pod();
  readonly name: string = this.path.split("/").at(-1)!;
  /** Where host-local keeps addresses. */
  readonly dataDir: string = `${this.dir}/ipam`;
  readonly #pods = new Map<string, string>();

  constructor() {
    super();
    run("ip", "-n", this.name, "link", "set", "lo", "up");
    Deno.writeTextFileSync(`${this.dir}/STALE`, "");
    Deno.mkdirSync(`${this.dir}/fakes`);
    for (const [name, deed] of Object.entries(FAKES)) {
      const script = `#!/bin/sh\ncat >/dev/null; echo "$CNI_COMMAND" >>'${this.dir}/calls'\n` +
        `case $CNI_COMMAND in ADD) ${deed} ;; esac\n`;
      Deno.writeTextFileSync(`${this.dir}/fakes/${name}`, script, { mode: 0o755 });
    }
    Deno.writeTextFileSync(`${this.dir}/RESOLV`, "nameserver 192.0.2.3\nsearch a b\n");
  }

  override start(call: PluginCall): Deno.ChildProcess {
    return within(this.path, () => super.start(call));
  }

  /** Runs a program on the node; it must succeed. */
  sh(line: string): string {
    const [program = "", ...args] = line.split(" ");
    return within(this.path, () => run(program, ...args));
  }

  /** The path of a pod's namespace. */
  podOf(id: string): string {
    const path = this.#pods.get(id) ?? this.pod();
    this.#pods.set(id, path);
    return path;
  }

  /** Takes a pod's namespace away, as a node that restarts does. */
  lose(id: string): void {
    run("ip", "netns", "delete", this.podOf(id).split("/").at(-1)!);
  }

  /** Makes it anew, and empty. */
  revive(id: string): void {
    run("ip", "netns", "add", this.podOf(id).split("/").at(-1)!);
  }

  /** Where plugins are: ours, and the scripts. */
  get cniPath(): string {
    return `${this.plugins}:${this.dir}/fakes`;
  }

  /** `ip -j -d` on the node. */
  ip(...args: readonly string[]): Shown[] {
    return ipJson("-n", this.name, ...args);
  }

  /** `ip -j -d` in a pod. */
  ipIn(id: string, ...args: readonly string[]): Shown[] {
    return ipJson("-n", this.podOf(id).split("/").at(-1)!, ...args);
  }

  /** A kernel setting of the node, or of a pod. */
  sysctl(key: string, id?: string): string {
    const path = id === undefined ? this.path : this.podOf(id);
    return within(path, () => Deno.readTextFileSync(`/proc/sys/${key}`).trim());
  }

  /** One link of the node; undefined when there is none. */
  link(name: string): Shown {
    return this.ip("link", "show").find((link) => link.ifname === name);
  }

  /** The names of all links of the node but the loopback, sorted. */
  links(): string[] {
    return this.ip("link", "show").map((link) => link.ifname).filter((n) => n !== "lo").sort();
  }

  /** Addresses that are reserved, sorted. */
  reserved(): string[] {
    try {
      return [...Deno.readDirSync(`${this.dataDir}/dbnet`)].map(({ name }) => name)
        .filter((name) => /^[0-9a-f.:]+$/.test(name)).sort();
    } catch {
      return [];
    }
  }

  /** The commands that the scripts got. */
  calls(): string[] {
    return Deno.readTextFileSync(`${this.dir}/calls`).trim().split("\n");
  }

  /** Makes the call of a step; `dir` puts other plugins in the place of those under test. */
  async take(step: Step, prevResult?: unknown, dir?: string): Promise<Reply> {
    const id = step.id ?? "c1";
    const nets = step.nets ?? ["10.1.2.0/24"];
    const ipam = nets.length === 0 ? {} : {
      type: "host-local",
      dataDir: this.dataDir,
      ranges: nets.map((subnet) => [{ subnet }]),
    };
    return await this.call({
      plugin: "bridge",
      ...(dir === undefined ? {} : { dir }),
      env: {
        CNI_COMMAND: step.command,
        CNI_CONTAINERID: id,
        CNI_IFNAME: step.ifname ?? "eth0",
        CNI_NETNS: this.#filled(step.netns) ?? this.podOf(id),
        CNI_ARGS: step.args,
        CNI_PATH: dir ?? this.cniPath,
      },
      config: {
        cniVersion: "1.0.0",
        name: "dbnet",
        type: "bridge",
        bridge: BRIDGE,
        ipam: { ...ipam, ...this.#filled(step.ipam) },
        ...(prevResult === undefined ? {} : { prevResult }),
        ...step.config,
      },
    });
  }

  /** With the paths of our own files for their names. */
  #filled<T>(value: T): T {
    if (value === undefined) return value;
    const text = JSON.stringify(value).replace(/"(STALE|RESOLV)"/g, `"${this.dir}/$1"`);
    return JSON.parse(text);
  }

  override [Symbol.dispose](): void {
    // Pods that a case took away itself are given back here, so that all have one end.
    for (const path of this.#pods.values()) {
      const there = [...Deno.readDirSync("/run/netns")].some(({ name }) => path.endsWith(name));
      if (!there) run("ip", "netns", "add", path.split("/").at(-1)!);
    }
    // What a case mounted goes with it.
    const mounts = Deno.readTextFileSync("/proc/self/mounts").split("\n")
      .map((line) => line.split(" ")[1] ?? "").filter((path) => path.startsWith(this.dir));
    for (const path of mounts.toReversed()) run("umount", "-l", path);
    super[Symbol.dispose]();
  }
}

function ipJson(...args: readonly string[]): Shown[] {
  const text = run("ip", "-j", "-d", ...args);
  const found: Shown[] = text.trim() === "" ? [] : JSON.parse(text);
  return found.filter((object) => Object.keys(object).length > 0);
}

/** What a case looks at after a call. */
export class Seen {
  readonly node: BridgeNode;
  /** The container of the call. */
  readonly id: string;
  readonly ifname: string;
  /** The answer: of this ADD, or of the last one of the same interface. */
  readonly result: Shown;

  constructor(node: BridgeNode, step: Step, result: Shown) {
    this.node = node;
    this.id = step.id ?? "c1";
    this.ifname = step.ifname ?? "eth0";
    this.result = result;
  }

  /** The name of the host end, as the result tells; versions before 0.3.0 do not. */
  get hostEnd(): string {
    return this.result.interfaces?.[1].name ??
      this.node.links().find((name) => name.startsWith("veth"));
  }

  /** The link of the host end. */
  get port(): Shown {
    return this.node.link(this.hostEnd);
  }

  /** The pod's link; undefined when there is none. */
  get inside(): Shown {
    return this.node.ipIn(this.id, "link", "show").find((link) => link.ifname === this.ifname);
  }

  /** The pod's interface was set up, and its other end is there. (Its operstate comes later.) */
  get isUp(): boolean {
    return ["UP", "LOWER_UP"].every((flag) => this.inside.flags.includes(flag));
  }

  /** Global addresses of the pod, with their lengths, sorted. */
  get addresses(): string[] {
    return globals(this.node.ipIn(this.id, "address", "show"), this.ifname);
  }

  /** Global addresses of a bridge, with their lengths, sorted. */
  bridgeAddresses(name: string = BRIDGE): string[] {
    return globals(this.node.ip("address", "show"), name);
  }

  /** The bridge's global addresses that the kernel does not use yet. */
  tentative(): string[] {
    return globals(this.node.ip("address", "show", "tentative"), BRIDGE);
  }

  /** Routes of the pod of one family: `10.1.0.0/16 via 10.1.2.1`, sorted; the kernel's are left out. */
  routes(family: 4 | 6 = 4): string[] {
    return this.node.ipIn(this.id, `-${family}`, "route", "show")
      .filter((route) => route.protocol !== "kernel")
      .map(({ dst, gateway }) => gateway === undefined ? dst : `${dst} via ${gateway}`).sort();
  }

  /** True when ping gets an answer in this pod, if only to its last call. */
  reaches(target: string): boolean {
    const name = this.node.podOf(this.id).split("/").at(-1)!;
    const args = ["netns", "exec", name, "ping", "-c5", "-i0.3", "-W1", target];
    return new Deno.Command("ip", { args }).outputSync().success;
  }

  /** The pod has these addresses, its reservations are these, and its host end is a port. */
  attached(addresses: readonly string[], bridge = BRIDGE): void {
    assert.deepEqual(this.addresses, addresses);
    assert.deepEqual(
      this.node.reserved(),
      addresses.map((address) => address.split("/")[0]).sort(),
    );
    assert.equal(this.port.master, bridge);
    assert.equal(this.port.operstate, "UP");
    assert.ok(this.isUp);
  }

  /** Nothing is left of the pod, neither here nor there. */
  gone(): void {
    assert.equal(this.inside, undefined);
    this.nothingHeld();
  }

  /** No host end and no address is left. */
  nothingHeld(): void {
    assert.deepEqual(this.node.links().filter((name) => name.startsWith("veth")), []);
    assert.deepEqual(this.node.reserved(), []);
  }
}

function globals(links: readonly Shown[], name: string): string[] {
  const link = links.find((one) => one.ifname === name);
  return (link?.addr_info ?? []).filter((one: Shown) => one.scope === "global")
    .map((one: Shown) => `${one.local}/${one.prefixlen}`).sort();
}

/** The addresses of a result of any version. */
export function resultAddresses({ ips, ip4, ip6 }: Shown): string[] {
  return ips?.map((one: Shown) => one.address) ??
    [ip4?.ip, ip6?.ip].filter((one) => one !== undefined);
}

/** Makes a test of each case. */
export function testRows(rows: readonly Row[]): void {
  libc(); // opened once and for good: inside the first case it would count as a leak
  for (const { id, title, steps } of rows) {
    Deno.test(`${id} bridge: ${title}`, async () => {
      using node = new BridgeNode();
      /** What ADD gave, by interface. */
      const results = new Map<string, unknown>();
      for (const step of steps) await play(node, step, results);
    });
  }
}

async function play(node: BridgeNode, step: Step, results: Map<string, unknown>): Promise<void> {
  const pod = node.podOf(step.id ?? "c1").split("/").at(-1)!;
  for (const line of step.before ?? []) {
    node.sh(line.replaceAll("POD", pod).replaceAll("STORE", node.dataDir));
  }
  const key = `${step.id ?? "c1"} ${step.ifname ?? "eth0"}`;
  const given = step.command === "ADD" || isOld(step) ? undefined : results.get(key);
  const reply = await node.take(step, "prev" in step ? step.prev : given);
  const json = expect(reply, step.want);
  if ("ok" in step.want) {
    if (!step.logs) assert.equal(reply.stderr, "");
    if (step.command === "ADD") results.set(key, json);
    else assert.equal(reply.stdout, "");
  }
  await step.see?.(new Seen(node, step, step.command === "ADD" ? json : results.get(key)));
}

/** Versions before 0.4.0 pass no result to DEL. */
function isOld({ command, config }: Step): boolean {
  const version = String(config?.["cniVersion"] ?? "1.0.0");
  return command === "DEL" && /^0\.[1-3]\./.test(version);
}
