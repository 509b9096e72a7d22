/** The extension backend: the operator's commands make the routes, beside flanneld's. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { type Route, routes } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT, type Node } from "./node.ts";
import { podNet } from "./rows_setup.ts";

/** Tells what it was told, and fails as long as there is a file named so. */
const SCRIPT = `#!/bin/sh
read -r data
echo "$1 subnet=$SUBNET ip=$PUBLIC_IP network=$NETWORK data=$data" >>/run/calls
[ ! -e /run/broken ] || { echo "no luck"; exit 3; }
case $1 in
pre) echo "key of $(hostname)" ;;
add) ip route replace "$SUBNET" via "$PUBLIC_IP" ;;
remove) ip route del "$SUBNET" ;;
esac
`;

const BACKEND = {
  Type: "extension",
  PreStartupCommand: "/run/script pre",
  PostStartupCommand: "/run/script post $SUBNET",
  SubnetAddCommand: "/run/script add",
  SubnetRemoveCommand: "/run/script remove",
};

function calls(node: Node): string[] {
  return (node.read("/run/calls") ?? "").trimEnd().split("\n");
}

function routeTo(node: Node, dst: string): Promise<Route | undefined> {
  return routes(node).then((all) => all.find((route) => route.dst === dst));
}

Deno.test("extension: commands join nodes of twill and flanneld; failures are told and tried again", async () => {
  // flanneld knows texts alone, so what is in the store is one; lists are tried in the end.
  const network = { Network: "10.244.0.0/16", Backend: BACKEND };
  await using lab = await Lab.create({ nodes: ["one", "two"], network });
  const [one, two] = lab.nodes as [Node, Node];
  try {
    for (const node of lab.nodes) {
      node.write("/run/script", SCRIPT);
      await node.must(["chmod", "+x", "/run/script"]);
    }
    one.write("/run/broken", "");
    await one.startDaemon({ flags: lab.flags });
    await two.startDaemon({ program: ["flanneld"], flags: lab.flags });
    await two.ready();
    const url = `http://127.0.0.1:${HEALTH_PORT}/readyz`;
    const health = async (): Promise<string> => (await one.exec(["curl", "-s", url])).stdout;
    await until(
      "the failure is told",
      async () => /Backend\.PreStartupCommand: exit status 3: no luck/.test(await health()),
    );
    await one.must(["rm", "/run/broken"]);
    await one.ready();
    for (const [node, peer] of [[one, two], [two, one]] as const) {
      const route = await until(
        `${node.name} has a route to ${peer.name}`,
        () => routeTo(node, `${podNet(peer)}.0/24`),
      );
      assert.equal(route.gateway, peer.address);
    }
    const [mine, theirs] = [`${podNet(one)}.0/24`, `${podNet(two)}.0/24`];
    assert.deepEqual(calls(one).filter((line) => !line.startsWith("pre ")), [
      `post subnet=${mine} ip=${one.address} network=10.244.0.0/16 data=`,
      `add subnet=${theirs} ip=${two.address} network= data=key of two`,
    ]);
    const told = calls(two).filter((line) => line.startsWith("add ") && line.includes(mine));
    assert.match(told[0] ?? "", /data=key of one$/);
    assert.match(
      await lab.etcd.must("get", "--prefix", "/coreos.com/network/subnets/"),
      /"BackendType":"extension","BackendData":"key of one"/,
    );

    // A peer that cannot be added is named, and holds nothing back; one that is gone is forgotten.
    one.write("/run/broken", "");
    const late = "10.244.0.0/24";
    const value = '{"PublicIP":"192.168.200.1","PublicIPv6":null,' +
      '"BackendType":"extension","BackendData":"late"}';
    await lab.etcd.must("put", "/coreos.com/network/subnets/10.244.0.0-24", value);
    await until(
      "the peer is named",
      async () =>
        /SubnetAddCommand for 10\.244\.0\.0\/24: exit status 3: no luck/.test(await health()),
    );
    assert.equal((await one.health("/readyz")).code, 0);
    await one.must(["rm", "/run/broken"]);
    await until("it is added", () => routeTo(one, late));
    await until("nothing is told any more", async () => !/no luck/.test(await health()));
    await lab.etcd.must("del", "/coreos.com/network/subnets/10.244.0.0-24");
    await until("it is removed", async () => await routeTo(one, late) === undefined);
    assert.deepEqual(
      calls(one).filter((line) => line.includes(late)).at(-1),
      `remove subnet=${late} ip=192.168.200.1 network= data=late`,
    );

    const lists = { ...BACKEND, ShutdownCommand: ["sh", "-c", 'echo "bye $SUBNET" >/run/bye'] };
    const config = JSON.stringify({ ...network, Backend: lists });
    await lab.etcd.must("put", "/coreos.com/network/config", config);
    await one.daemon!.stop("SIGTERM");
    await one.startDaemon({ flags: lab.flags });
    await one.ready();
    await one.daemon!.stop("SIGTERM");
    assert.equal(one.read("/run/bye"), `bye ${mine}\n`);
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});
