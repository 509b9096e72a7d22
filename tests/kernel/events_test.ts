import assert from "node:assert/strict";
import { type Heard, KernelEvents } from "../../ffi/events.ts";
import { libc } from "../../ffi/libc.ts";
import { libnl } from "../../ffi/libnl.ts";
import { Poller } from "../../ffi/poll.ts";
import { Netns, run, sh } from "./sandbox.ts";

/** What is heard while the commands run: kinds of events, links with their names. */
function heardOf(
  poller: Poller,
  focus: Parameters<KernelEvents["focus"]>[0],
  commands: string,
): string[] {
  const heard: Heard[] = [];
  using events = new KernelEvents(poller, (one) => heard.push(one));
  events.focus(focus);
  sh(commands);
  events.drain();
  return [
    ...new Set(heard.map(({ event }) => event.kind === "link" ? `link ${event.name}` : event.kind)),
  ].sort();
}

const POD = `
  ip link add veth0 type veth peer name eth0
  ip link set veth0 master cni0
  ip link set eth0 up
  ip link set veth0 up
  ip link delete veth0`;

/** The poll outlives the namespace, in which nothing asynchronous may start. */
function eventsTest(name: string, test: (poller: Poller) => void): void {
  // Libraries stay open for good; those of the first test would count as a leak.
  for (const open of [libc, libnl]) open();
  Deno.test(`KernelEvents: ${name}`, async () => {
    await using poller = new Poller();
    using net = new Netns();
    net.inside(() => test(poller));
  });
}

eventsTest("a pod that comes and goes is not heard of", (poller) => {
  sh("ip link add cni0 type bridge\nip link add flannel.1 type bridge\nip link set cni0 up");
  assert.deepEqual(heardOf(poller, { names: ["flannel.1"], indexes: [] }, POD), []);
  const all = heardOf(poller, undefined, POD);
  assert.ok(all.includes("link veth0"), "without a filter it is");
});

const OURS = `
  ip link set flannel.1 up
  ip addr add 10.1.2.3/24 dev flannel.1
  ip neigh add 10.1.2.4 lladdr 02:00:00:00:00:01 dev flannel.1 nud permanent
  ip route add 10.9.0.0/16 via 10.1.2.4`;

eventsTest("what concerns our links is heard, and every route", (poller) => {
  sh("ip link add flannel.1 type bridge\nip link add flannel.10 type bridge");
  const { 1: index = "" } = /^(\d+): flannel\.1:/m.exec(run("ip", "link")) ?? [];
  const focus = { names: ["eth9", "flannel.1"], indexes: [99, Number(index)] };
  assert.deepEqual(heardOf(poller, focus, OURS), [
    "address",
    "link flannel.1",
    "neighbour",
    "route",
  ]);
  assert.deepEqual(heardOf(poller, focus, "ip link set flannel.10 up"), []);
  assert.ok(heardOf(poller, focus, "ip link delete flannel.1").includes("link flannel.1"));
});
