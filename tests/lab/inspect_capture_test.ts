/**
 * `twill inspect capture` between two real nodes: one line for each packet, with the whole way, and
 * files that another program (tshark) opens.
 */

import assert from "node:assert/strict";
import { readFile } from "../engine/packet/read_pcapng.ts";
import { BACK, bytesOf, OUT, type PacketLine, packetsIn, wayOf } from "./capture_lines.ts";
import { until } from "./command.ts";
import { explain, Lab, OUTSIDE } from "./lab.ts";
import type { Node, Pod } from "./node.ts";
import { note } from "./notes.ts";
import { END_OF_LOG, type Service } from "./service.ts";
import type { Command } from "./space.ts";

let lab: Lab;
let worker: Node;
let pods: Readonly<Record<"web" | "web2" | "api", Pod>>;

/** Where files are written; each node has its own. */
const FILE = "/run/packets.pcapng";

Deno.test.beforeAll(async () => {
  lab = await Lab.create({ nodes: ["worker", "worker2"] });
  await lab.startDaemons();
  worker = lab.node("worker");
  const add = (node: string, name: string): Promise<Pod> => lab.node(node).addPod(name);
  const [web, web2, api] = await Promise.all([
    add("worker", "web"),
    add("worker", "web2"),
    add("worker2", "api"),
  ]);
  pods = { web, web2, api };
  await remember(web);
  const answer = "async (r) => new Response(`${(await r.arrayBuffer()).byteLength}\\n`)";
  const server = await lab.node("worker2").start("server", [
    ...["ip", "netns", "exec", "api", Deno.execPath(), "eval", "--quiet", "--no-config"],
    ...["--no-lock", `Deno.serve({ port: 80 }, ${answer})`],
  ] as unknown as Command);
  // Neighbours are known, and the kernel has said hello on the new interfaces.
  await until("web reaches the server", async () => {
    const { code } = await worker.execInPod("web", ["curl", "-sm2", `http://${api.ip}/`]);
    return code === 0;
  }, { seconds: 60, explain: () => server.tail() });
});

Deno.test.afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
});

/** Writes what a container runtime writes of a pod, so that it has a name. */
async function remember({ attachment: { containerId, ifname }, list, result }: Pod): Promise<void> {
  await worker.must(["mkdir", "-p", "/var/lib/cni/results"]);
  const cniArgs = [["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", "web"]];
  const attachment = { containerId, ifName: ifname, networkName: list.name };
  const text = JSON.stringify({ kind: "cniCacheV1", ...attachment, cniArgs, result });
  worker.write(`/var/lib/cni/results/${list.name}-${containerId}-${ifname}`, text);
}

/** A running capture; stdout and stderr are in its log. */
async function capturing(...args: readonly string[]): Promise<Service> {
  const capture = await worker.start("capture", ["twill", "inspect", "capture", ...args]);
  await until("it captures", () => capture.log && logOf(capture).includes("^C ends it"), {
    explain: () => capture.tail(),
  });
  return capture;
}

function logOf({ log }: Service): string {
  return Deno.readTextFileSync(log);
}

/** Ends it as ^C does. */
async function ended(capture: Service): Promise<string> {
  await capture.stop("SIGINT");
  assert.equal(capture.code, 0, capture.tail());
  return logOf(capture);
}

/** A test; a failure comes with what the daemons said. */
function onLab(name: string, run: () => Promise<void>): void {
  Deno.test(`inspect capture: ${name}`, async () => {
    try {
      await run();
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new Error(message.includes(END_OF_LOG) ? message : explain(cause, lab), { cause });
    }
  });
}

/** Runs a capture with JSON lines around some work in pods. */
async function during(
  args: readonly string[],
  work: () => Promise<unknown>,
): Promise<{ readonly packets: PacketLine[]; readonly log: string }> {
  const capture = await capturing("-o", "json", ...args);
  await work();
  const log = await ended(capture);
  return { packets: packetsIn(log), log };
}

function inWeb(...command: Command): Promise<unknown> {
  // A flood takes a minute on a machine that has other things to do.
  return worker.must(["ip", "netns", "exec", "web", ...command], { seconds: 180 });
}

onLab("a ping to another node is one line each way, with all places in order", async () => {
  const { packets, log } = await during(
    ["--pod", "default/web", "--proto", "icmp", "--host", pods.api.ip],
    () => inWeb("ping", "-qc2", "-i0.1", pods.api.ip),
  );
  assert.deepEqual(packets.map(wayOf), [OUT, BACK, OUT, BACK], log);
  for (const { hops } of packets) {
    const times = hops.map(({ afterNanoseconds }) => afterNanoseconds);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
    assert.ok(hops.every(({ frames }) => frames === 1));
  }
  const [{ source, destination, hops }] = packets as [PacketLine];
  assert.deepEqual([source, destination], [pods.web.ip, pods.api.ip]);
  assert.deepEqual(hops.map((hop) => `${hop.pod} ${hop.interface}`), [
    "default/web eth0",
    `default/web ${pods.web.result.interfaces![1]!.name}`,
    "null cni0",
    "null flannel.1",
    "null eth0",
  ]);
  assert.deepEqual(hops.map(({ vxlan }) => vxlan), [null, null, null, null, {
    vni: 1,
    port: 8472,
    source: worker.address,
    destination: lab.node("worker2").address,
  }]);
  assert.match(log, /none lost\n$/);
});

onLab("a pod on the same node: two pairs, one line", async () => {
  const { packets } = await during(
    ["--proto", "icmp", "--host", pods.web2.ip],
    () => inWeb("ping", "-qc1", pods.web2.ip),
  );
  const way = "pod out > veth in > veth out > pod in";
  assert.deepEqual(packets.map(wayOf), [way, way]);
});

/** Segments that the pod `web` has sent again, so far. */
async function resent(): Promise<string> {
  const text = await worker.must(["ip", "netns", "exec", "web", "cat", "/proc/net/snmp"]);
  const [names = [], values = []] = text.split("\n").filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  const value = values[names.indexOf("RetransSegs")];
  assert.ok(value !== undefined, text);
  return value;
}

onLab("TCP with another node: each segment is one line, whole, however it is cut", async () => {
  const before = await resent();
  const { packets, log } = await during(
    ["--peer", lab.node("worker2").address, "--proto", "tcp", "--port", "80"],
    () =>
      inWeb(
        "sh",
        "-c",
        `head -c 200000 /dev/zero | curl -sm30 --data-binary @- http://${pods.api.ip}/`,
      ),
  );
  assert.ok(packets.length > 8, log);
  const ways = packets.map((packet) => `${packet.source === pods.web.ip} ${wayOf(packet)}`);
  assert.deepEqual([...new Set(ways)].sort(), [`false ${BACK}`, `true ${OUT}`], log);
  const segments = packets.filter(({ source }) => source === pods.web.ip);
  const { stream, all } = bytesOf(segments);
  assert.ok(stream > 200_000 && stream < 201_000, `${stream}\n${log}`);
  // Every byte is in one packet only, unless the kernel has sent it twice.
  if (await resent() === before) assert.equal(all, stream, log);
});

onLab(
  "a large datagram: every fragment at every place, known by the port of the first",
  async () => {
    const { packets, log } = await during(
      ["--port", "9", "--proto", "udp"],
      () =>
        inWeb(
          "bash",
          "-c",
          `dd if=/dev/zero bs=5000 count=1 status=none >/dev/udp/${pods.api.ip}/9`,
        ),
    );
    assert.ok(packets.length >= 1, log);
    // Where the node puts it together on its way it is one packet, else one for each fragment.
    for (const packet of packets) assert.equal(wayOf(packet), OUT, log);
    const frames = (role: string): number =>
      packets.flatMap(({ hops }) => hops).filter((hop) => hop.role === role)
        .reduce((sum, hop) => sum + hop.frames, 0);
    assert.deepEqual([frames("pod"), frames("vtep"), frames("uplink")], [4, 4, 4], log);
  },
);

onLab("to the outside: the masqueraded packet is the pod's, both ways", async () => {
  const { packets, log } = await during(
    ["--host", OUTSIDE],
    () => inWeb("curl", "-sm30", `http://${OUTSIDE}/`),
  );
  assert.ok(packets.length >= 8, log);
  for (const packet of packets) {
    const { source, hops } = packet;
    const out = source === pods.web.ip;
    const way = out
      ? "pod out > veth in > bridge in > uplink out"
      : "uplink in > bridge out > veth out > pod in";
    assert.equal(wayOf(packet), way, log);
    const { translated } = hops.at(-1)!;
    assert.deepEqual(
      out ? translated?.source : translated?.destination,
      out ? worker.address : pods.web.ip,
    );
  }
});

onLab("--count ends it; lines and blocks for people name pods and places", async () => {
  await using pings = await worker.start("pings", [
    ...["ip", "netns", "exec", "web", "ping", "-i0.1"],
    pods.api.ip,
  ] as unknown as Command);
  const lines = await worker.must(
    ["twill", "inspect", "capture", "--pod", "web", "--host", pods.api.ip, "-n", "1"],
  );
  const line = new RegExp(
    `^\\d\\d:\\d\\d:\\d\\d\\.\\d{6} \\S+ > \\S+ icmp echo re(?:quest|ply) id \\d+ seq \\d+ \\| .*` +
      `default/web:eth0.*\\n$`,
  );
  assert.match(lines, line);
  assert.match(lines, / flannel\.1 \+\d+us/);
  assert.match(lines, /eth0(?: \+\d+us)? \[vni 1 192\.168\.200\.1[12] > 192\.168\.200\.1[12]\]/);
  const block = await worker.must(
    ["twill", "inspect", "capture", "--pod", "web", "--host", pods.api.ip, "-n", "1", "-o", "wide"],
  );
  assert.equal(block.trimEnd().split("\n").length, 6, block);
  assert.match(block, /in vxlan port 8472 vni 1/);
  // A reader that goes is no error.
  const piped = await worker.exec([
    ...["sh", "-c", `twill inspect capture --pod web --host ${pods.api.ip} -o json | head -n 1`],
  ] as unknown as Command, { seconds: 20 });
  assert.equal(packetsIn(piped.stdout).length, 1);
  assert.match(piped.stderr, /^Capturing on .*\n\d+ packets? in .*\n$/);
  await pings.stop("SIGINT");
});

/** What tshark reads from a file, one line a frame. */
function tshark(args: readonly string[], fields: readonly string[]): Promise<string> {
  const columns = fields.flatMap((field) => ["-e", field]);
  return worker.must([
    ...["tshark", "-nr", FILE, ...args, "-T", "fields"],
    ...columns,
  ] as unknown as Command, { env: { HOME: "/run" } });
}

function rows(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

onLab(
  "-w: tshark decodes the file, names the interfaces, and needs no hint for what is inside",
  async () => {
    const args = ["--pod", "web", "--host", pods.api.ip, "-w", FILE, "-n", "2"];
    const capture = await capturing(...args);
    await inWeb("ping", "-qc2", "-i0.1", "-s", "1000", pods.api.ip);
    await until("it has seen enough", () => capture.code !== undefined, {
      explain: () => capture.tail(),
    });
    assert.match(logOf(capture), /-d udp\.port==8472,vxlan/);
    const names = rows(await tshark(["-Y", "icmp"], ["frame.interface_name"]));
    const veth = pods.web.result.interfaces![1]!.name;
    const inner = "eth0 vni 1 inner";
    const places = ["default/web:eth0", veth, "cni0", "flannel.1", inner];
    assert.deepEqual(
      names,
      [...places, inner, ...places.slice(0, 4).toReversed()],
      "both packets, without a hint",
    );
    const hinted = rows(
      await tshark(["-d", "udp.port==8472,vxlan", "-Y", "vxlan"], [
        "frame.interface_name",
        "frame.interface_description",
        "vxlan.vni",
        "icmp.type",
      ]),
    );
    assert.deepEqual(hinted.map((row) => row.split("\t")), [
      ["eth0", "the underlay: packets between nodes", "1", "8"],
      ["eth0", "the underlay: packets between nodes", "1", "0"],
    ]);
    assert.equal(
      await tshark(["-Y", "_ws.malformed || frame.cap_len != frame.len"], ["frame"]),
      "",
    );
    // Nanoseconds, and in the order of time.
    const times = rows(await tshark([], ["frame.time_epoch"])).map((text) =>
      BigInt(text.replace(".", ""))
    );
    assert.deepEqual(times, [...times].sort((a, b) => a < b ? -1 : Number(a > b)));
    assert.ok(times.some((time) => time % 1000n !== 0n), "nanoseconds");
    const { mode } = Deno.statSync(worker.path(FILE));
    assert.equal(mode! & 0o777, 0o600);
  },
);

onLab("--as-4789: tshark decodes the outer packets too, and the file says why", async () => {
  const capture = await capturing("--host", pods.api.ip, "-w", FILE, "--as-4789", "-n", "2");
  await inWeb("ping", "-qc1", pods.api.ip);
  await until("it has seen enough", () => capture.code !== undefined);
  assert.match(logOf(capture), /outer UDP port 8472 becomes 4789/);
  const found = rows(
    await tshark(["-o", "udp.check_checksum:TRUE", "-Y", "vxlan"], [
      "frame.interface_name",
      "udp.dstport",
      "udp.checksum.status",
    ]),
  ).map((row) => row.split("\t"));
  assert.deepEqual(found.map(([name, port]) => [name, port]), [["eth0", "4789"], ["eth0", "4789"]]);
  // 0 would be "bad"; 1 and 3 are "good" and "not present".
  assert.ok(found.every(([, , status]) => status !== "0"), JSON.stringify(found));
  const { comment } = readFile(Deno.readFileSync(worker.path(FILE)));
  assert.match(comment, /port 8472 was written as 4789/);
});

onLab("-w -: a pipe into tshark", async () => {
  await using pings = await worker.start("pings", [
    ...["ip", "netns", "exec", "web", "ping", "-i0.1"],
    pods.api.ip,
  ] as unknown as Command);
  const script = `twill inspect capture --pod web --host ${pods.api.ip} -w - -n 2 2>/run/said |` +
    " HOME=/run tshark -nr - -Y icmp -T fields -e frame.interface_name";
  const out = rows(await worker.must(["sh", "-c", script]));
  assert.equal(out.length, 10, out.join("\n"));
  assert.ok(out.includes("eth0 vni 1 inner"));
  assert.match(worker.read("/run/said") ?? "", /^Capturing on [^]*2 packets in 10 frames/);
  await pings.stop("SIGINT");
});

/** What a finished capture counted. */
function lossIn(log: string): { readonly seen: number; readonly lost: number } {
  const [, seen = "", lost = "0"] = /, of (\d+) frames on .*?(?:none lost|lost (\d+))/.exec(log) ??
    [];
  return { seen: Number(seen), lost: Number(lost) };
}

onLab("what is lost is told by interface, in words and in the file", async () => {
  const capture = await capturing("-w", FILE, "--proto", "icmp");
  // While it cannot look, more passes than the kernel can keep for it.
  Deno.kill(capture.pid, "SIGSTOP");
  await inWeb("ping", "-qfc6000", "-s1400", pods.api.ip);
  Deno.kill(capture.pid, "SIGCONT");
  const log = await ended(capture);
  const { lost } = lossIn(log);
  assert.ok(lost > 0, log);
  assert.match(log, /^ {2}default\/web:eth0: lost \d+ of \d+ frames$/m);
  const { packets, statistics } = readFile(Deno.readFileSync(worker.path(FILE)));
  const inFile = new Map(
    statistics.map(([name, received, dropped]) => [name, { received, dropped }]),
  );
  const sum = statistics.reduce((total, [, , dropped]) => total + dropped, 0n);
  assert.equal(sum, BigInt(lost));
  // What was not lost is there: only pings pass the pod's interface (and, rarely, ARP).
  const web = inFile.get("default/web:eth0")!;
  const written = packets.filter(({ on }) => on === "default/web:eth0").length;
  const missing = Number(web.received - web.dropped) - written;
  assert.ok(missing >= 0 && missing < 50, `${web.received} - ${web.dropped}, ${written}`);
});

onLab("a flood is captured whole, but for what it tells to be lost", async () => {
  const capture = await capturing("-o", "json", "--host", pods.api.ip);
  const began = performance.now();
  await inWeb("ping", "-qfc8000", pods.api.ip);
  const seconds = (performance.now() - began) / 1000;
  const log = await ended(capture);
  const { seen, lost } = lossIn(log);
  const packets = packetsIn(log);
  note(
    `inspect capture: ${Math.round(seen / seconds)} frames/s for ${
      seconds.toFixed(1)
    } s, ${lost} lost`,
  );
  // Nothing is lost on a quiet machine. On a busy one a ring may run over while the capture waits for
  // its turn; each frame that is lost leaves one packet incomplete, and no other packet may be.
  assert.ok(lost < 8_000, `${lost} lost`);
  const whole = packets.filter((packet) => [OUT, BACK].includes(wayOf(packet))).length;
  assert.ok(whole <= 16_000 && whole >= 16_000 - lost, `${whole} of 16000 whole, ${lost} lost`);
  if (lost === 0) assert.deepEqual([whole, packets.length], [16_000, 16_000]);
});
