/** The lab itself: that it stands, that it leaves nothing behind. */

import assert from "node:assert/strict";
import { CommandError, Hopeless, until } from "./command.ts";
import { Lab, OUTSIDE } from "./lab.ts";
import { requestDocument, STOCK_LIST } from "./runtime.ts";

/** Everything that a lab could leave: processes, namespaces in mounts, folders, devices. */
function traces(): Record<string, string[]> {
  const processes = [...Deno.readDirSync("/proc")].map(({ name }) => name)
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        // A process of the lab has another network than we.
        const net = Deno.readLinkSync(`/proc/${pid}/ns/net`);
        const line = Deno.readTextFileSync(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
        return net === Deno.readLinkSync("/proc/self/ns/net") ? [] : [line];
      } catch {
        return [];
      }
    });
  const names = (path: string): string[] => [...Deno.readDirSync(path)].map(({ name }) => name);
  return {
    processes,
    mounts: Deno.readTextFileSync("/proc/self/mounts").trimEnd().split("\n"),
    run: names("/run").sort(),
    devices: names("/sys/class/net").sort(),
    etc: names("/etc").filter((name) => name === "cni"),
    lib: names("/var/lib").filter((name) => /^(?:cni|twill)$/.test(name)),
    opt: names("/opt").filter((name) => name === "cni"),
  };
}

Deno.test("lab: two of them stand side by side, and leave nothing behind", async () => {
  const before = traces();
  {
    await using one = await Lab.create({ nodes: ["a", "b"] });
    await using two = await Lab.create({ nodes: ["a", "b"], mtu: 9000 });
    assert.notDeepEqual(traces(), before);
    for (const lab of [one, two]) {
      const [a, b] = lab.nodes;
      await a!.must(["ping", "-c1", "-W5", "-M", "do", "-s", String(lab.mtu - 28), b!.address]);
      const answer = await a!.must(["curl", "-s", "-m5", `http://${OUTSIDE}/`]);
      assert.equal(answer, `you are ${a!.address}\n`);
      await a!.must(["ip", "netns", "add", "pod"]);
      a!.write("/var/lib/cni-was-here", "");
      await lab.etcd.must("put", "whose", String(lab.mtu));
    }
    assert.match(await one.etcd.must("get", "whose"), /1500/);
  }
  assert.deepEqual(traces(), before);
});

Deno.test("lab: etcd keeps its data over a restart", async () => {
  await using lab = await Lab.create({ nodes: [], outside: false });
  await lab.etcd.must("put", "a", "b");
  await lab.etcd.stop("SIGKILL");
  await lab.etcd.start();
  assert.match(await lab.etcd.must("get", "a"), /^a\nb\n/);
});

Deno.test("lab: a failing command says what it printed, and a service how it ended", async () => {
  await using lab = await Lab.create({ nodes: ["a"], network: false, outside: false });
  const [a] = lab.nodes;
  await assert.rejects(a!.must(["sh", "-c", "echo out; echo err >&2; exit 3"]), (e) => {
    assert.ok(e instanceof CommandError);
    assert.match(e.message, /exit status 3\nerr\nout$/);
    return true;
  });
  const service = await a!.start("talker", ["sh", "-c", "echo said; exit 4"]);
  assert.equal(await service.ended(), 4);
  assert.match(service.tail(), /ended with exit status 4; the end of its log:\nsaid/);
  const sleeper = await a!.start("sleeper", ["sleep", "infinity"]);
  assert.equal((await sleeper.stop("SIGTERM")).code, 143);
  const give_up = until("it works", () => {
    throw new Hopeless("it is broken");
  });
  await assert.rejects(give_up, /Will not happen: it works\nit is broken/);
});

Deno.test("requestDocument: is built as libcni builds it", () => {
  const [flannel, portmap] = STOCK_LIST.plugins;
  const portMappings = [{ HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "" }];
  const args = { capabilityArgs: { portMappings, bandwidth: {} } };
  const text = (...[plugin, result]: [typeof flannel, { cniVersion: string }?]): string =>
    JSON.stringify(requestDocument(STOCK_LIST, plugin!, args, result));
  assert.equal(
    text(flannel),
    '{"cniVersion":"0.3.1","delegate":{"hairpinMode":true,"isDefaultGateway":true},' +
      '"name":"cbr0","type":"flannel"}',
  );
  assert.equal(
    text(portmap, { cniVersion: "0.3.1" }),
    '{"capabilities":{"portMappings":true},"cniVersion":"0.3.1","name":"cbr0",' +
      '"prevResult":{"cniVersion":"0.3.1"},"runtimeConfig":{"portMappings":[' +
      '{"ContainerPort":80,"HostIP":"","HostPort":8080,"Protocol":"tcp"}]},"type":"portmap"}',
  );
});
