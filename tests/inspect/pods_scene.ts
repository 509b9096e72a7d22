/**
 * Pods on paper: their files and the links that join them.
 *
 * @module
 */

import { parseInet } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import type { LinkView } from "../../ffi/netns_view.ts";
import { ENV, type Scene } from "./scene.ts";

const NETWORKS = "/var/lib/cni/networks/cbr0";
const CACHE = "/var/lib/cni/results";

const STATS = {
  receivedPackets: 10,
  sentPackets: 20,
  receivedBytes: 1000,
  sentBytes: 2000,
  receiveErrors: 0,
  sendErrors: 1,
  receiveDropped: 2,
  sendDropped: 3,
} as const;

/** One link. */
export function linkView(part: Partial<LinkView> & Pick<LinkView, "index" | "name">): LinkView {
  return { kind: "veth", mtu: 1450, up: true, stats: STATS, addresses: [], ...part };
}

/** The container of pod N. */
export function container(n: number): string {
  return `${n}`.repeat(64);
}

/** Where pod N's namespace has its name. */
export function netns(n: number): string {
  return `/run/netns/cni-${n}`;
}

/** What pod N leaves: files, and links here and in its namespace. */
export interface PodParts {
  readonly files: Readonly<Record<string, string>>;
  readonly host: readonly LinkView[];
  readonly namespaces: Readonly<Record<string, readonly LinkView[]>>;
}

/** The parts of pod N, 10.244.1.N; `name` is `namespace/name`, and without it nothing is cached. */
export function podParts(n: number, name?: string): PodParts {
  const [ip, mac] = [`10.244.1.${n}`, `0a:58:0a:f4:01:0${n}`];
  const [namespace = "", pod = ""] = name?.split("/") ?? [];
  const cache = {
    kind: "cniCacheV1",
    containerId: container(n),
    config: "e30=",
    ifName: "eth0",
    networkName: "cbr0",
    netns: `/var${netns(n)}`,
    cniArgs: [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", namespace], ["K8S_POD_NAME", pod]],
    result: {
      cniVersion: "0.3.1",
      interfaces: [
        { name: "cni0", mac: "0a:58:0a:f4:01:01" },
        { name: `veth${n}`, mac: "0a:58:00:00:00:01" },
        { name: "eth0", mac, sandbox: `/var${netns(n)}` },
      ],
      ips: [{ version: "4", interface: 2, address: `${ip}/24`, gateway: "10.244.1.1" }],
    },
  };
  return {
    files: {
      [`${NETWORKS}/${ip}`]: `${container(n)}\r\neth0`,
      ...(name === undefined ? {} : {
        [`${CACHE}/cbr0-${container(n)}-eth0`]: JSON.stringify(cache),
        [`${CACHE}/cni-loopback-${container(n)}-lo`]: JSON.stringify({ ...cache, ifName: "lo" }),
      }),
    },
    host: [
      linkView({
        index: 100 + n,
        name: `veth${n}`,
        master: 5,
        peer: 2,
        peerNetns: n,
        port: { hairpin: true, isolated: false, learning: true, flooding: true },
      }),
    ],
    namespaces: {
      [netns(n)]: [
        linkView({ index: 1, name: "lo", kind: "" }),
        linkView({
          index: 2,
          name: "eth0",
          mac: parseMac(mac),
          peer: 100 + n,
          addresses: [parseInet(`${ip}/24`)],
        }),
      ],
    },
  };
}

/** A node with these pods. */
export function nodeOf(...pods: readonly PodParts[]): Scene {
  const bridge = linkView({ index: 5, name: "cni0", kind: "bridge" });
  const paths = Object.fromEntries(
    pods.flatMap(({ namespaces }) => Object.keys(namespaces).map((path) => [path, ""])),
  );
  return {
    files: Object.assign(
      {
        "/run/flannel/subnet.env": ENV,
        [`${NETWORKS}/last_reserved_ip.0`]: "10.244.1.9",
        [`${NETWORKS}/lock`]: "",
      },
      paths,
      ...pods.map(({ files }) => files),
    ),
    namespaces: Object.assign(
      { host: [bridge, ...pods.flatMap(({ host }) => host)] },
      ...pods.map(({ namespaces }) => namespaces),
    ),
  };
}
