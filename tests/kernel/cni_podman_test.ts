/** The list of podman's default network, as Debian ships it, with our plugins. */

import assert from "node:assert/strict";
import { Chain, type ChainOptions, type Json } from "./chain.ts";
import { expect, run, type Want } from "./plugins.ts";

const OK: Want = { ok: true };

/** What podman passes beside the list. */
const RUNTIME = {
  runtimeConfig: {
    portMappings: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" },
      { hostPort: 5353, containerPort: 53, protocol: "udp", hostIP: "" },
    ],
  },
  env: { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=web", XDG_RUNTIME_DIR: "" },
};

/** 87-podman-bridge.conflist, but for the device's name and the place of the addresses. */
function podman(chain: Chain, firewall: Json = {}): ChainOptions {
  return {
    cniVersion: "0.4.0",
    ...RUNTIME,
    plugins: [
      {
        type: "bridge",
        bridge: chain.bridgeName,
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          routes: [{ dst: "0.0.0.0/0" }],
          ranges: [[{ subnet: "10.88.0.0/16", gateway: "10.88.0.1" }]],
          dataDir: `${chain.bench.dir}/ipam`,
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
      { type: "firewall", ...firewall },
      { type: "tuning" },
    ],
  };
}

/** Rules and chains of iptables and nft that speak of the pod. */
function traces(): string[] {
  const saved = ["iptables-save", "ip6tables-save"].flatMap((program) => run(program).split("\n"));
  const listed = run("nft", "list", "ruleset").split("\n");
  return [...saved, ...listed].filter((line) =>
    /10\.88\.0\.2|c1|CNI-DN-|:CNI-[0-9a-f]{24}/.test(line)
  );
}

for (
  const [title, firewall] of Object.entries<Json>({
    "the default list": {},
    "with isolation, as podman network create writes it": { ingressPolicy: "same-bridge" },
  })
) {
  Deno.test(`CH03 podman: ${title}: ADD, CHECK, DEL`, async () => {
    using chain = new Chain();
    const options = podman(chain, firewall);
    const before = traces();
    const result = await chain.add(options);
    assert.equal(result.cniVersion, "0.4.0");
    assert.deepEqual(result.ips, [
      { version: "4", interface: 2, address: "10.88.0.2/16", gateway: "10.88.0.1" },
    ]);
    assert.match(result.interfaces[2].mac, /^[0-9a-f:]{17}$/);
    assert.deepEqual(result.interfaces.map((one: Json) => one["sandbox"]), [
      undefined,
      undefined,
      chain.netns,
    ]);
    const made = traces().join("\n");
    for (
      const part of ["--to-destination 10.88.0.2:80", "-s 10.88.0.2/32 -j ACCEPT", "MASQUERADE"]
    ) {
      assert.ok(made.includes(part), `${part} in\n${made}`);
    }
    expect(await chain.check(options), OK);
    await chain.del(options);
    assert.deepEqual(traces(), before);
    assert.throws(() => Deno.statSync(`${chain.bench.dir}/ipam/dbnet/10.88.0.2`));
    await chain.del(options);
  });
}

Deno.test("CH03 podman: a host port reaches the pod; the pod gets out where the node drops", async () => {
  using chain = new Chain();
  const options = podman(chain);
  // Another machine, with this node as its gateway.
  const machine = chain.bench.pod().split("/").at(-1)!;
  run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "eth0", "netns", machine);
  using _wire = { [Symbol.dispose]: () => void run("ip", "link", "delete", "wire") };
  for (const words of ["address add 192.0.2.1/24 dev wire", "link set wire up"]) {
    run("ip", ...words.split(" "));
  }
  for (const words of ["address add 192.0.2.2/24 dev eth0", "link set eth0 up"]) {
    run("ip", "-n", machine, ...words.split(" "));
  }
  await chain.add(options);
  const pod = chain.netns.split("/").at(-1)!;
  const listen = "const l=Deno.listen({port:80});console.log('up');const c=await l.accept();" +
    "await c.write(new TextEncoder().encode(c.remoteAddr.hostname));c.close();l.close()";
  const server = new Deno.Command("ip", {
    args: ["netns", "exec", pod, Deno.execPath(), "eval", "--no-config", "--no-lock", listen],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = server.stdout.getReader();
  await lines.read();
  const ask = "const c=await Deno.connect({hostname:'192.0.2.1',port:8080});" +
    "console.log(await new Response(c.readable).text())";
  const answer = run(
    "ip",
    ...["netns", "exec", machine, "timeout", "10", Deno.execPath(), "eval"],
    ...["--no-config", "--no-lock", ask],
  );
  assert.equal(answer.trim(), "192.0.2.2");
  await lines.cancel();
  assert.ok((await server.status).success);

  const out = ["netns", "exec", pod, "ping", "-c1", "-W1", "192.0.2.2"];
  const gets = (): boolean =>
    new Deno.Command("ip", { args: out, stdout: "null" }).outputSync().success;
  run("iptables", "-P", "FORWARD", "DROP");
  using _policy = { [Symbol.dispose]: () => void run("iptables", "-P", "FORWARD", "ACCEPT") };
  assert.ok(gets());
  expect(await chain.call("DEL", options.plugins[2]!, options, chain.result), OK);
  assert.ok(!gets());
  await chain.del(options);
});
