/**
 * Stores below a prefix of their own in a real etcd, for tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Log } from "../../daemon/log.ts";
import { EtcdClient } from "../../daemon/store/etcd.ts";
import { EtcdStore, type EtcdStoreOptions } from "../../daemon/store/etcd_store.ts";
import type { LeaseRequest, Snapshot } from "../../daemon/store/store.ts";
import { sleep } from "../../daemon/wait.ts";
import { parseIp4 } from "../../engine/ip.ts";
import { parseJson } from "../../engine/json.ts";
import type { LeaseSubnets } from "../../engine/lease.ts";
import type { EtcdServer } from "./etcd_server.ts";

/** A network with room for 255 nodes. */
export const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
/** The same with IPv6. */
export const DUAL =
  '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{"Type":"vxlan"}}';
/** A network with room for three nodes. */
export const TINY = '{"Network":"10.5.0.0/28","Backend":{"Type":"vxlan"}}';
const MAC = "c6:d2:32:6f:8f:44";
/** What a node with this address writes, as flannel writes it. */
export const VALUE = (ip: string): string =>
  `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${MAC}"}}`;
/** Seconds that a lease lives. */
export const DAY = 86_400;

let scenes = 0;

/** A prefix in etcd, with its configuration, and stores below it. */
export class Scene implements AsyncDisposable {
  readonly prefix = `/t${++scenes}/network`;
  readonly lines: string[] = [];
  readonly stop = new AbortController();
  /** Runs etcdctl, and is the endpoint of stores that have no other. */
  server: EtcdServer;
  readonly #stores: EtcdStore[] = [];
  /** A wait that has no end of its own must not hold up the others. */
  readonly #late = setTimeout(() => this.stop.abort(new Error("the test takes too long")), 20_000);

  private constructor(etcd: EtcdServer) {
    this.server = etcd;
  }

  /** @param config what `<prefix>/config` holds; nothing when empty. */
  static async make(etcd: EtcdServer, config = CONFIG): Promise<Scene> {
    const scene = new Scene(etcd);
    if (config !== "") await etcd.ctl("put", `${scene.prefix}/config`, config);
    return scene;
  }

  get signal(): AbortSignal {
    return this.stop.signal;
  }

  /** Each store is another node, unless told otherwise. */
  store(options: Partial<EtcdStoreOptions> & { deadline?: number } = {}): EtcdStore {
    const { deadline = 5_000, ...rest } = options;
    const count = this.#stores.length;
    const store = new EtcdStore({
      node: { id: `${count}`.padStart(32, "0"), name: `node${count}` },
      etcd: new EtcdClient({ endpoints: [this.server.endpoint], deadline }),
      prefix: this.prefix,
      margin: 3_600_000,
      poll: 20,
      retry: 200,
      random: () => 0,
      log: new Log({ write: (line) => this.lines.push(line) }),
      ...rest,
    });
    this.#stores.push(store);
    return store;
  }

  put(name: string, value: string, ...more: string[]): Promise<string> {
    return this.server.ctl("put", `${this.prefix}/subnets/${name}`, value, ...more);
  }

  /** Key names and values below `subnets`, with the seconds each has left (0: for ever). */
  async leases(): Promise<[name: string, value: string, ttl: number][]> {
    const out: [string, string, number][] = [];
    for (const { key, value, lease } of await this.server.dump(`${this.prefix}/subnets/`)) {
      const ttl = lease === 0n ? 0 : await this.#ttl(lease);
      out.push([key.slice(`${this.prefix}/subnets/`.length), value, ttl]);
    }
    return out;
  }

  /** True once one of the log lines matches; fails after five seconds. */
  async logged(pattern: RegExp): Promise<void> {
    await until(`a line like ${pattern}`, () => this.lines.some((line) => pattern.test(line)));
  }

  /** What the marks say, by the name of their lease. */
  async marks(): Promise<Record<string, string>> {
    const folder = `${this.prefix}/twill/`;
    const marks = await this.server.dump(folder);
    return Object.fromEntries(marks.map(({ key, value }) => [key.slice(folder.length), value]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#late);
    this.stop.abort(new Error("end of the test"));
    for (const store of this.#stores) await store.close();
  }

  async #ttl(lease: bigint): Promise<number> {
    const text = await this.server.ctl("lease", "timetolive", lease.toString(16), "-w", "json");
    return JSON.parse(text)["granted-ttl"];
  }
}

/** Waits until the test is true, at most so many milliseconds. */
export async function until(
  what: string,
  test: () => boolean | Promise<boolean>,
  patience = 5_000,
): Promise<void> {
  const { signal } = new AbortController();
  const end = performance.now() + patience;
  while (performance.now() < end) {
    if (await test()) return;
    await sleep(10, signal);
  }
  assert.fail(`waited in vain for ${what}`);
}

/** What a node with this address asks for. */
export function request(ip: string, previous: LeaseSubnets = {}): LeaseRequest {
  const backendData = parseJson(`{"VNI":1,"VtepMAC":"${MAC}"}`);
  return { record: { publicIp: parseIp4(ip), backendType: "vxlan", backendData }, previous };
}

/** The newest snapshots of a store, read in the background. */
export class Watching {
  last: Snapshot | undefined;
  count = 0;
  readonly done: Promise<void>;

  constructor(store: EtcdStore, signal: AbortSignal) {
    this.done = (async () => {
      for await (const snapshot of store.snapshots(signal)) {
        this.last = snapshot;
        this.count++;
      }
    })();
  }

  /** Waits until the subnets of the last snapshot are these. */
  async shows(...subnets: string[]): Promise<void> {
    await until(`leases ${subnets}`, () => this.subnets().join() === subnets.join());
  }

  subnets(): string[] {
    return (this.last?.leases ?? []).map((lease) => lease.subnet ?? "none").sort();
  }
}
