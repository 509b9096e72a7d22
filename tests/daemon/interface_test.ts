/** Interface selection on made-up nodes: one row each. */

import assert from "node:assert/strict";
import { chooseInterface, type InterfaceWish, type NodeView } from "../../daemon/interface.ts";
import { OpError } from "../../engine/errors.ts";
import type { RouteFact } from "../../engine/fact.ts";
import { parseCidr, parseIp } from "../../engine/ip.ts";
import type { Address, Link } from "../../ffi/kernel.ts";
import { AddressFlag } from "../../ffi/netlink/address.ts";

const link = (index: number, name: string, mtu = 1500): Link => ({
  index,
  name,
  kind: "",
  mtu,
  flags: 1,
  operstate: 6,
  message: { attributes: {} },
});
const address = (index: number, ip: string, flags: number = AddressFlag.PERMANENT): Address => ({
  index,
  ip: parseIp(ip),
  length: ip.includes(":") ? 64 : 24,
  flags,
  scope: 0,
});
const via = (dst: string, dev: string | undefined, metric = 0): RouteFact => ({
  kind: "route",
  where: "host",
  dst: parseCidr(dst),
  ...(dev === undefined ? {} : { dev }),
  metric,
});

/** Two links; the default route leaves by the second, the cheaper one. */
const NODE: NodeView = {
  links: [link(1, "lo", 65_536), link(2, "eth0"), link(3, "eth1", 9000)],
  addresses: [
    address(1, "127.0.0.1"),
    address(2, "10.0.0.5"),
    address(2, "fd00::5"),
    address(3, "169.254.3.3"),
    address(3, "192.168.0.9", 0),
    address(3, "192.168.0.7"),
    address(3, "fe80::7"),
    address(3, "fd01::8", AddressFlag.TEMPORARY),
    address(3, "fd01::7"),
    address(3, "fd01::6", AddressFlag.PERMANENT | AddressFlag.DEPRECATED),
  ],
  routes: [via("0.0.0.0/0", "eth0", 100), via("0.0.0.0/0", "eth1", 50), via("::/0", "eth1")],
};

const wish = (over: Partial<InterfaceWish> = {}): InterfaceWish => ({
  families: [4],
  ifaces: [],
  patterns: [],
  publicIps: {},
  ...over,
});

const CHOICES: readonly {
  readonly title: string;
  readonly wish: InterfaceWish;
  readonly want: string;
}[] = [
  {
    title: "the cheapest default route, permanent global address first",
    wish: wish(),
    want: "eth1 9000 192.168.0.7 public 192.168.0.7",
  },
  {
    title: "by name",
    wish: wish({ ifaces: ["eth0"] }),
    want: "eth0 1500 10.0.0.5 public 10.0.0.5",
  },
  {
    title: "by address, which then is the node's",
    wish: wish({ ifaces: ["192.168.0.9"] }),
    want: "eth1 9000 192.168.0.9 public 192.168.0.9",
  },
  {
    title: "the first --iface that fits",
    wish: wish({ ifaces: ["nope", "10.9.9.9", "eth0"] }),
    want: "eth0 1500 10.0.0.5 public 10.0.0.5",
  },
  {
    title: "a public address of ours selects its link",
    wish: wish({ publicIps: { 4: parseIp("10.0.0.5") } }),
    want: "eth0 1500 10.0.0.5 public 10.0.0.5",
  },
  {
    title: "a public address behind NAT is published, the default route selects",
    wish: wish({ publicIps: { 4: parseIp("203.0.113.7") } }),
    want: "eth1 9000 192.168.0.7 public 203.0.113.7",
  },
  {
    title: "by a pattern of an address",
    wish: wish({ patterns: [/^10\.0\./] }),
    want: "eth0 1500 10.0.0.5 public 10.0.0.5",
  },
  {
    title: "by a pattern of a less preferred address, which then is the node's",
    wish: wish({ patterns: [/\.0\.9$/] }),
    want: "eth1 9000 192.168.0.9 public 192.168.0.9",
  },
  {
    title: "by a pattern of a name, after --iface",
    wish: wish({ ifaces: ["nope"], patterns: [/h0/] }),
    want: "eth0 1500 10.0.0.5 public 10.0.0.5",
  },
  {
    title: "a pattern for both families needs a match in each, else a name",
    wish: wish({ families: [4, 6], patterns: [/^(10\.|fd01::7)/, /^eth1$/] }),
    want: "eth1 9000 192.168.0.7,fd01::7 public 192.168.0.7,fd01::7",
  },
  {
    title: "by an address that must be reached: the most specific route",
    wish: wish({ canReach: parseIp("8.8.8.8") }),
    want: "eth1 9000 192.168.0.7 public 192.168.0.7",
  },
  {
    title: "IPv6 only: stable before temporary, never deprecated, never link-local",
    wish: wish({ families: [6] }),
    want: "eth1 9000 fd01::7 public fd01::7",
  },
  {
    title: "both families on one link",
    wish: wish({ families: [4, 6] }),
    want: "eth1 9000 192.168.0.7,fd01::7 public 192.168.0.7,fd01::7",
  },
];

for (const { title, wish, want } of CHOICES) {
  Deno.test(`chooseInterface: ${title}`, () => {
    const { underlay, publicIps } = chooseInterface(NODE, wish);
    const list = (ips: typeof publicIps): string => Object.values(ips).join(",");
    assert.equal(
      `${underlay.name} ${underlay.mtu} ${list(underlay.addresses)} public ${list(publicIps)}`,
      want,
    );
  });
}

const REFUSALS: readonly {
  readonly title: string;
  readonly view: NodeView;
  readonly wish: InterfaceWish;
  readonly words: RegExp;
}[] = [
  {
    title: "no default route",
    view: { ...NODE, routes: [] },
    wish: wish(),
    words: /unable to find an IPv4 default route/,
  },
  {
    title: "a default route with several next hops",
    view: { ...NODE, routes: [via("0.0.0.0/0", undefined)] },
    wish: wish(),
    words: /could not determine its interface/,
  },
  {
    title: "default routes of the families on different links",
    view: { ...NODE, routes: [via("0.0.0.0/0", "eth0"), via("::/0", "eth1")] },
    wish: wish({ families: [4, 6] }),
    words: /IPv4 default route leaves by eth0, the IPv6 one by eth1/,
  },
  {
    title: "every --iface is named with its reason",
    view: NODE,
    wish: wish({ ifaces: ["nope", "10.9.9.9"] }),
    words: /--iface nope: .*no interface of that name; --iface 10\.9\.9\.9: no interface has/,
  },
  {
    title: "a link without an address",
    view: { ...NODE, addresses: [] },
    wish: wish(),
    words: /failed to find IPv4 address for interface eth1/,
  },
];

for (const { title, view, wish, words } of REFUSALS) {
  Deno.test(`chooseInterface refuses: ${title}`, () => {
    assert.throws(() => chooseInterface(view, wish), (e: unknown) => {
      assert(e instanceof OpError);
      assert.match(e.message, words);
      return true;
    });
  });
}
