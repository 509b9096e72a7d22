import assert from "node:assert/strict";
import fc from "fast-check";
import type { Journey, Sighting } from "../../../engine/packet/correlate.ts";
import { Clock } from "../../../inspect/capture/clock.ts";
import { CaptureFile } from "../../../inspect/capture/file.ts";
import { parseDuration, parseHost } from "../../../inspect/capture/command.ts";
import { Pipeline } from "../../../inspect/capture/pipeline.ts";
import { Sink } from "../../../inspect/capture/sink.ts";
import { data, echo, inVxlan, ipFrame, type Place, seen } from "../../engine/packet/frames.ts";
import { readFile } from "../../engine/packet/read_pcapng.ts";
import { TAPS } from "./node.ts";

const MS = 1e6;
const WAY = ["pod", "veth", "bridge", "vtep", "uplink"] as const;

/** A ping on its way out; each place a microsecond after the one before. */
function ping(sequence: number, atMs: number): Sighting[] {
  const inner = ipFrame({ protocol: 1, payload: echo(5, sequence, data(8, sequence)) });
  return WAY.map((place: Place, i) =>
    seen(place, atMs * MS + i * 1000, place === "uplink" ? inVxlan(inner) : inner)
  );
}

function recording(wants: (journey: Journey) => boolean = () => true, from = 0): {
  pipeline: Pipeline;
  packets: Journey[];
  frames: Sighting[];
} {
  const [packets, frames]: [Journey[], Sighting[]] = [[], []];
  const pipeline = new Pipeline({
    from,
    wants,
    packet: (journey) => void packets.push(journey),
    frame: (sighting) => void frames.push(sighting),
  });
  return { pipeline, packets, frames };
}

const seqOf = ({ identity }: Journey): number => identity.fingerprint;

Deno.test("Pipeline: whatever the order in which interfaces are read, packets are whole and in order", () => {
  const all = [1, 2, 3, 4].map((n) => ping(n, n * 10));
  fc.assert(
    fc.property(fc.shuffledSubarray(all.flat(), { minLength: 20 }), (sightings) => {
      const { pipeline, packets, frames } = recording();
      for (const sighting of sightings) pipeline.add(sighting);
      pipeline.finish();
      assert.deepEqual(packets.map(({ hops }) => hops.length), [5, 5, 5, 5]);
      const times = packets.map(({ hops }) => hops[0]!.first.at);
      assert.deepEqual(times, [10, 20, 30, 40].map((ms) => ms * MS));
      assert.deepEqual(frames, all.flat());
    }),
  );
});

Deno.test("Pipeline: a packet is told once it has had time to be seen everywhere, and only once", () => {
  const { pipeline, packets, frames } = recording();
  const [first, ...rest] = ping(1, 1000);
  pipeline.add(first!);
  pipeline.advance(1100 * MS);
  for (const sighting of rest) pipeline.add(sighting);
  pipeline.advance(1250 * MS);
  assert.equal(packets.length, 0);
  pipeline.advance(1300 * MS);
  assert.deepEqual(packets.map(({ hops }) => hops.length), [5]);
  pipeline.advance(5000 * MS);
  pipeline.finish();
  assert.equal(packets.length, 1);
  assert.equal(frames.length, 5);
});

Deno.test("Pipeline: what is not wanted is asked once and left out, frames and all", () => {
  let asked = 0;
  const { pipeline, packets, frames } = recording((journey) => {
    asked++;
    return seqOf(journey) === seqOf(wanted);
  });
  const probe = recording();
  for (const sighting of ping(2, 10)) probe.pipeline.add(sighting);
  probe.pipeline.finish();
  const wanted = probe.packets[0]!;
  for (const sighting of [1, 2, 3].flatMap((n) => ping(n, n * 10))) pipeline.add(sighting);
  pipeline.finish();
  assert.equal(asked, 3);
  assert.equal(packets.length, 1);
  assert.deepEqual(frames, ping(2, 20));
});

Deno.test("Pipeline: a packet that was under way when it began is left out", () => {
  const { pipeline, packets, frames } = recording(() => true, 20 * MS + 2000);
  for (const sighting of [1, 2, 3].flatMap((n) => ping(n, n * 10))) pipeline.add(sighting);
  pipeline.finish();
  assert.equal(packets.length, 1);
  assert.deepEqual(frames, ping(3, 30));
});

Deno.test("Clock: nanoseconds are kept, before and after its first second", () => {
  const clock = new Clock(Date.UTC(2026, 10, 24, 12, 0, 0, 900));
  const second = Date.UTC(2026, 10, 24, 12) / 1000;
  fc.assert(
    fc.property(fc.integer({ min: -100, max: 1_000_000 }), fc.nat(999_999_999), (s, nsec) => {
      const at = clock.at(second + s, nsec);
      assert.equal(clock.since1970(at), BigInt(second + s) * 1_000_000_000n + BigInt(nsec));
      const [, rest] = clock.iso(at).split(".");
      assert.equal(rest, `${String(nsec).padStart(9, "0")}Z`);
      assert.equal(Date.parse(clock.iso(at).replace(/\.\d+/, "")), (second + s) * 1000);
      assert.equal(clock.timeOfDay(at).slice(-6), String(nsec).padStart(9, "0").slice(0, 6));
    }),
  );
  assert.equal(clock.atMs((second + 2) * 1000), clock.at(second + 2, 0));
});

/** The file that these sightings make. */
function fileOf(sightings: readonly Sighting[], iana = false): ReturnType<typeof readFile> {
  const written: number[] = [];
  const clock = new Clock(0);
  const file = new CaptureFile({
    taps: TAPS,
    clock,
    program: "twill 1",
    system: "Linux 6",
    snapLength: 262_144,
    iana,
    ports: [8472],
    write: (bytes) => void written.push(...bytes),
  });
  for (const sighting of sightings) file.frame(sighting);
  file.end(9 * MS, TAPS.map((_, i) => ({ received: 10 * i, lost: i })));
  return readFile(Uint8Array.from(written));
}

Deno.test("CaptureFile: true frames, interfaces with names, and what VXLAN carries on its own", () => {
  const sightings = ping(1, 5);
  const { interfaces, packets, statistics, comment } = fileOf(sightings);
  assert.deepEqual(interfaces.map(({ name }) => name), [
    "default/web:eth0",
    "veth7",
    "cni0",
    "flannel.1",
    "eth0",
    "shop/db:eth0",
    "veth8",
    "eth0 vni 1 inner",
  ]);
  assert.match(interfaces[1]!.description, /default\/web/);
  assert.equal(interfaces[1]!.comment, "pod default/web");
  assert.equal(interfaces[1]!.mac, "2.0.0.0.0.7");
  assert.match(comment, /-d udp\.port==8472,vxlan/);
  assert.deepEqual(packets.map(({ on, time, direction }) => [on, time, direction]), [
    ["default/web:eth0", 5_000_000n, "out"],
    ["veth7", 5_001_000n, "in"],
    ["cni0", 5_002_000n, "in"],
    ["flannel.1", 5_003_000n, "out"],
    ["eth0", 5_004_000n, "out"],
    ["eth0 vni 1 inner", 5_004_000n, "out"],
  ]);
  assert.deepEqual(
    packets.slice(0, 5).map(({ bytes }) => bytes),
    sightings.map(({ packet }) => packet.bytes),
  );
  assert.deepEqual(packets[5]!.bytes, packets[0]!.bytes, "the inner packet is the pod's");
  assert.equal(packets[5]!.length, packets[0]!.length);
  assert.deepEqual(statistics.map(([, received, lost]) => [received, lost])[3], [30n, 3n]);
});

Deno.test("CaptureFile: --as-4789 changes the outer port and nothing else, and says so", () => {
  const sightings = ping(1, 5);
  const [plain, iana] = [fileOf(sightings), fileOf(sightings, true)];
  assert.match(iana.comment, /port 8472 was written as 4789/);
  for (const [i, { on, bytes }] of plain.packets.entries()) {
    const differing = [...bytes].flatMap((byte, at) =>
      byte === iana.packets[i]!.bytes[at] ? [] : at
    );
    assert.deepEqual(differing, on === "eth0" ? [36, 37] : [], on);
  }
});

Deno.test("Sink: large pieces; a reader that goes is an end, a full disk an error", () => {
  const pieces: number[] = [];
  let gone = 0;
  let fail: Error | undefined;
  const target = {
    writeSync: (bytes: Uint8Array) => {
      if (fail) throw fail;
      pieces.push(Math.min(bytes.length, 100_000));
      return Math.min(bytes.length, 100_000);
    },
  };
  const sink = new Sink(target, "file", () => void gone++);
  for (let i = 0; i < 300; i++) sink.bytes(new Uint8Array(1000));
  sink.line("end");
  sink.flush();
  sink.flush();
  assert.equal(pieces.reduce((sum, n) => sum + n), 300_004);
  assert.ok(pieces.length < 6);
  fail = new Deno.errors.BrokenPipe();
  sink.line("more");
  sink.flush();
  assert.equal(gone, 1);
  sink.line("nobody hears this");
  sink.flush();
  assert.equal(gone, 1);
  const full = new Sink(target, "/tmp/x.pcapng", () => {});
  fail = new Error("No space left on device (os error 28)");
  full.line("x");
  assert.throws(() => full.flush(), /^OpError: Cannot write to \/tmp\/x\.pcapng: No space left on/);
});

for (
  const [text, ms] of [["30s", 30_000], ["90", 90_000], ["2m", 120_000], ["500ms", 500], [
    "1.5h",
    5_400_000,
  ]] as const
) {
  Deno.test(`parseDuration: ${text} is ${ms} ms`, () => assert.equal(parseDuration(text), ms));
}

for (const text of ["", "0", "0s", "-1s", "1d", "s", "1 s", "1e3"]) {
  Deno.test(`parseDuration: ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseDuration(text), /^SyntaxError: want a time such as 30s/);
  });
}

Deno.test("parseHost: addresses and prefixes of both families", () => {
  assert.deepEqual(["10.0.0.1", "10.0.0.0/8", "fd00::1", "fd00::/8"].map(parseHost), [
    "10.0.0.1/32",
    "10.0.0.0/8",
    "fd00::1/128",
    "fd00::/8",
  ]);
  assert.throws(() => parseHost("web"), SyntaxError);
});
