import assert from "node:assert/strict";
import fc from "fast-check";
import { Correlator, type Journey } from "../../../engine/packet/correlate.ts";
import { Matcher } from "../../../engine/packet/filter.ts";
import { parseCidr } from "../../../engine/ip.ts";
import {
  data,
  echo,
  inVxlan,
  ip6Frame,
  ipFrame,
  type Place,
  PLACES,
  seen,
  tcp,
  udp,
  type Wish,
} from "./frames.ts";

/** A frame at a place; time is the place in the list. */
type Step = readonly [place: Place, bytes: Uint8Array];

const NAMES = Object.keys(PLACES) as Place[];

/** The journeys that a list of sightings makes: `pod > veth x2`, in the order of the first. */
function journeys(steps: readonly Step[]): string[] {
  return follow(steps).map((journey) =>
    journey.hops.map(({ first: { tap, out }, count }) => {
      const name = NAMES.find((name) => PLACES[name].tap === tap && PLACES[name].out === out);
      return count === 1 ? name : `${name} x${count}`;
    }).join(" > ")
  );
}

function follow(steps: readonly Step[]): Journey[] {
  const correlator = new Correlator();
  const found = steps.map(([place, bytes], at) => correlator.add(seen(place, at, bytes)));
  return [...new Set(found.map((journey) => journey.whole))];
}

const OUTWARD = ["pod", "veth", "bridge", "vtep"] as const;

/** A packet on its whole way to another node. */
function wayOut(wish: Wish): Step[] {
  return [
    ...OUTWARD.map((place, i): Step => [place, ipFrame({ ...wish, ttl: i < 3 ? 64 : 63 })]),
    ["uplink", inVxlan(ipFrame({ ...wish, ttl: 63 }))],
  ];
}

const WHOLE_WAY = "pod > veth > bridge > vtep > uplink";

const PACKETS: Readonly<Record<string, Wish>> = {
  "ICMP": { protocol: 1, payload: echo(5, 1, data(56)) },
  "UDP with identification": { protocol: 17, id: 77, payload: udp(5000, 53, data(40)) },
  "UDP without identification": { protocol: 17, payload: udp(5000, 53, data(40)) },
  "UDP without data": { protocol: 17, payload: udp(5000, 53, []) },
  "TCP SYN": { protocol: 6, payload: tcp({ sequence: 100, flags: 2 }) },
  "TCP data": { protocol: 6, id: 9, payload: tcp({ sequence: 100, content: data(200) }) },
  "GRE": { protocol: 47, payload: data(60) },
  "a fragment": { protocol: 17, id: 8, offset: 1480, more: true, payload: data(80) },
};

for (const [name, wish] of Object.entries(PACKETS)) {
  Deno.test(`Correlator: ${name} is one packet on its way, VXLAN or not`, () => {
    assert.deepEqual(journeys(wayOut(wish)), [WHOLE_WAY]);
  });
}

Deno.test("Correlator: packets that are alike are told apart by order, also when interleaved", () => {
  const wish = PACKETS["UDP without identification"]!;
  const [one, two] = [wayOut(wish), wayOut(wish)];
  const mixed = [one[0]!, two[0]!, ...one.slice(1, 3), ...two.slice(1, 3), one[3]!, two[3]!];
  const way = "pod > veth > bridge > vtep";
  assert.deepEqual(journeys(mixed), [way, way]);
});

Deno.test("Correlator: a packet that is sent again is another one", () => {
  const wish = PACKETS["TCP data"]!;
  const again = { ...wish, id: 10 };
  assert.deepEqual(journeys([...wayOut(wish), ...wayOut(again)]), [WHOLE_WAY, WHOLE_WAY]);
  // With the same identification too: IPv6 has none.
  assert.deepEqual(journeys([...wayOut(wish), ...wayOut(wish)]), [WHOLE_WAY, WHOLE_WAY]);
});

Deno.test("Correlator: different pings, directions, ports and connections stay apart", () => {
  const packets = [
    ipFrame({ protocol: 1, payload: echo(5, 1, data(56)) }),
    ipFrame({ protocol: 1, payload: echo(5, 2, data(56)) }),
    ipFrame({ protocol: 1, payload: echo(6, 1, data(56, 2)) }),
    ipFrame({ protocol: 1, payload: echo(5, 1, data(56), 0) }),
    ipFrame({ protocol: 6, payload: tcp({ sequence: 1 }) }),
    ipFrame({ protocol: 6, payload: tcp({ sequence: 1, acknowledgement: 8 }) }),
    ipFrame({ protocol: 17, payload: udp(1, 2, data(3)) }),
    ipFrame({ protocol: 17, payload: udp(1, 2, data(4)) }),
    // These begin alike.
    ipFrame({ protocol: 17, payload: udp(1, 2, data(40)) }),
    ipFrame({ protocol: 17, payload: udp(1, 2, data(50)) }),
  ];
  const found = follow([
    ...packets.map((bytes): Step => ["pod", bytes]),
    // One overtakes the other.
    ...packets.toReversed().map((bytes): Step => ["veth", bytes]),
  ]);
  assert.equal(found.length, packets.length);
  for (const { hops: [pod, veth] } of found) {
    assert.deepEqual(pod?.first.packet.bytes, veth?.first.packet.bytes);
  }
});

const MASQUERADED = { from: "192.0.2.1", to: "203.0.113.10" };

const TRANSLATED: Readonly<Record<string, readonly [Wish, Wish]>> = {
  "TCP, masqueraded": [
    { to: "203.0.113.10", protocol: 6, id: 3, payload: tcp({ sequence: 5, flags: 2 }) },
    {
      ...MASQUERADED,
      protocol: 6,
      id: 3,
      payload: tcp({ ports: [6000, 80], sequence: 5, flags: 2 }),
    },
  ],
  "UDP, masqueraded": [
    { to: "203.0.113.10", protocol: 17, payload: udp(5000, 53, data(30)) },
    { ...MASQUERADED, protocol: 17, payload: udp(7000, 53, data(30)) },
  ],
  "ICMP, masqueraded": [
    { to: "203.0.113.10", protocol: 1, payload: echo(5, 1, data(56)) },
    { ...MASQUERADED, protocol: 1, payload: echo(99, 1, data(56)) },
  ],
  "TCP, both ends replaced": [
    { to: "10.96.0.1", protocol: 6, id: 3, payload: tcp({ sequence: 5, flags: 2 }) },
    {
      from: "192.0.2.1",
      to: "192.0.2.9",
      protocol: 6,
      id: 3,
      payload: tcp({ ports: [6000, 6443], sequence: 5, flags: 2 }),
    },
  ],
  "a fragment, masqueraded": [
    { to: "203.0.113.10", protocol: 17, id: 4, offset: 1480, payload: data(99) },
    { ...MASQUERADED, protocol: 17, id: 4, offset: 1480, payload: data(99) },
  ],
};

for (const [name, [before, after]] of Object.entries(TRANSLATED)) {
  Deno.test(`Correlator: ${name}, is the same packet`, () => {
    const steps: Step[] = [
      ...OUTWARD.slice(0, 3).map((place): Step => [place, ipFrame(before)]),
      ["uplink", ipFrame(after)],
    ];
    assert.deepEqual(journeys(steps), ["pod > veth > bridge > uplink"]);
  });
}

Deno.test("Correlator: two pods that say the same to one server at once are two packets", () => {
  const said = (from: string): Uint8Array =>
    ipFrame({ from, to: "10.244.1.9", protocol: 17, payload: udp(5000, 53, data(30)) });
  const steps: Step[] = [
    ["pod", said("10.244.1.2")],
    ["pod2", said("10.244.1.3")],
    ["veth", said("10.244.1.2")],
    ["veth2", said("10.244.1.3")],
  ];
  assert.deepEqual(journeys(steps), ["pod > veth", "pod2 > veth2"]);
  // What the node has not routed yet was not translated either.
  const atVeths: Step[] = [["veth", said("10.244.1.2")], ["veth2", said("10.244.1.3")]];
  assert.deepEqual(journeys(atVeths), ["veth", "veth2"]);
  // Even without an address: what a pod sends cannot have been seen before.
  const same = said("0.0.0.0");
  assert.deepEqual(journeys([["pod", same], ["pod2", same]]), ["pod", "pod2"]);
});

/** TCP data of a connection, from a number on; the one that ends at 4000 is pushed. */
function segment(start: number, length: number): Wish {
  const content = data(20_000).slice(start, start + length);
  const flags = start + length === 4000 ? 0x18 : 0x10;
  return { protocol: 6, payload: tcp({ sequence: 0xffff_ff00 + start >>> 0, flags, content }) };
}

Deno.test("Correlator: a large TCP packet that the uplink cuts up is one packet", () => {
  const inside = ipFrame(segment(0, 4000));
  const pieces = [[0, 1400], [1400, 1400], [2800, 1200]].map(([at, length]) =>
    inVxlan(ipFrame(segment(at!, length!)))
  );
  const steps: Step[] = [
    ...OUTWARD.map((place): Step => [place, inside]),
    ...pieces.map((bytes): Step => ["uplink", bytes]),
  ];
  assert.deepEqual(journeys(steps), [`${WHOLE_WAY} x3`]);
});

Deno.test("Correlator: TCP packets that were put together on their way in are one packet", () => {
  const pieces = [[0, 1400], [1400, 1400], [2800, 1200]].map(([at, length]) =>
    inVxlan(ipFrame(segment(at!, length!)))
  );
  const whole = ipFrame(segment(0, 4000));
  const after = (["fromVtep", "toBridge", "toVeth", "toPod"] as const)
    .map((place): Step => [place, whole]);
  const steps: Step[] = [...pieces.map((bytes): Step => ["fromUplink", bytes]), ...after];
  assert.deepEqual(journeys(steps), ["fromUplink x3 > fromVtep > toBridge > toVeth > toPod"]);
});

Deno.test("Correlator: a piece that is sent again is not part of the first packet", () => {
  const steps: Step[] = [
    ["veth", ipFrame(segment(0, 2000))],
    ["uplink", ipFrame(segment(0, 1000))],
    ["uplink", ipFrame(segment(1000, 1000))],
    ["uplink", ipFrame(segment(1000, 1000))],
  ];
  assert.deepEqual(journeys(steps), ["veth > uplink x2", "uplink"]);
});

Deno.test("Correlator: a datagram in fragments that the node puts together is one packet", () => {
  const content = udp(5000, 6000, data(2992));
  const piece = (offset: number, length: number): Wish => ({
    protocol: 17,
    id: 500,
    offset,
    more: offset + length < content.length,
    payload: content.slice(offset, offset + length),
  });
  const pieces = [piece(0, 1424), piece(1424, 1424), piece(2848, 152)];
  const steps: Step[] = [
    ...(["pod", "veth"] as const).flatMap((place) =>
      pieces.map((wish): Step => [place, ipFrame(wish)])
    ),
    ["bridge", ipFrame({ protocol: 17, id: 500, payload: content })],
    ...pieces.map((wish): Step => ["vtep", ipFrame(wish)]),
    ...pieces.map((wish): Step => ["uplink", inVxlan(ipFrame(wish))]),
  ];
  assert.deepEqual(journeys(steps), ["pod x3 > veth x3 > bridge > vtep x3 > uplink x3"]);
  // Where nobody puts them together each is a packet of its own, and all have the ports.
  const apart = follow(steps.filter(([place]) => place !== "bridge"));
  assert.deepEqual(apart.map(({ ports }) => ports), [[5000, 6000], [5000, 6000], [5000, 6000]]);
});

Deno.test("Correlator: IPv6 fragments that are sent anew, under another number, are the same packet", () => {
  const content = udp(5000, 6000, data(2992));
  const pieces = (id: number): Uint8Array[] =>
    [[0, 1376], [1376, 1376], [2752, 248]].map(([offset, length]) =>
      ip6Frame({
        protocol: 17,
        id,
        offset: offset!,
        more: offset! + length! < content.length,
        payload: content.slice(offset!, offset! + length!),
      })
    );
  const steps: Step[] = [
    ...pieces(500).map((bytes): Step => ["pod", bytes]),
    ...pieces(500).map((bytes): Step => ["veth", bytes]),
    ["bridge", ip6Frame({ protocol: 17, payload: content })],
    ...pieces(777).map((bytes): Step => ["vtep", bytes]),
  ];
  assert.deepEqual(journeys(steps), ["pod x3 > veth x3 > bridge > vtep x3"]);
  const apart = journeys(steps.filter(([place]) => place !== "bridge"));
  assert.deepEqual(apart, Array(3).fill("pod > veth > vtep"));
});

Deno.test("Correlator: what was closed is over", () => {
  const correlator = new Correlator();
  const bytes = ipFrame(PACKETS["TCP data"]!);
  const first = correlator.add(seen("veth", 0, bytes));
  assert.equal(correlator.add(seen("bridge", 1, bytes)), first);
  correlator.close(first);
  assert.notEqual(correlator.add(seen("vtep", 2, bytes)), first);
});

Deno.test("Correlator: hops are in the order of time, then of the way, however they came", () => {
  const bytes = ipFrame(PACKETS.ICMP!);
  fc.assert(
    fc.property(fc.shuffledSubarray([...OUTWARD], { minLength: 4 }), (places) => {
      const correlator = new Correlator();
      const at = { pod: 0, veth: 5, bridge: 5, vtep: 9 } as const;
      const found = places.map((place) => correlator.add(seen(place, at[place], bytes)));
      assert.equal(new Set(found).size, 1);
      assert.deepEqual(found[0]!.hops.map(({ first: { tap } }) => tap), [0, 1, 2, 3]);
    }),
  );
});

const NO_FILTER = { hosts: [], peers: [], ports: [], protocols: [] } as const;

const FILTERS: readonly (readonly [
  name: string,
  filter: Partial<ConstructorParameters<typeof Matcher>[0]>,
  wanted: readonly string[],
])[] = [
  ["nothing", {}, ["icmp", "tcp", "udp", "fragments", "error", "nat", "listener"]],
  ["protocol", { protocols: ["icmp"] }, ["icmp", "error"]],
  ["ICMP of IPv6 is a protocol of its own", { protocols: ["icmp6"] }, ["listener"]],
  ["protocols", { protocols: ["tcp", "arp"] }, ["tcp", "nat"]],
  ["port", { ports: [53] }, ["udp", "fragments", "error"]],
  ["host", { hosts: [parseCidr("10.244.2.3/32")] }, ["icmp", "tcp", "udp", "fragments", "error"]],
  ["host before NAT", { hosts: [parseCidr("10.96.0.1/32")] }, ["nat"]],
  ["host after NAT", { hosts: [parseCidr("10.244.7.0/24")] }, ["nat"]],
  ["port after NAT", { ports: [6443] }, ["nat"]],
  ["peer, by the outer address", { peers: [parseCidr("192.0.2.2/32")] }, ["icmp", "tcp", "udp"]],
  ["host is not asked of the outer address", { hosts: [parseCidr("192.0.2.2/32")] }, []],
  ["all at once", { ports: [53], protocols: ["udp"], hosts: [parseCidr("10.244.1.2/32")] }, [
    "udp",
    "fragments",
  ]],
  ["another family", { hosts: [parseCidr("::/0")] }, ["listener"]],
];

const quoted = [...ipFrame({ protocol: 17, payload: udp(5000, 53, []) }).subarray(14)];
const nat = { protocol: 6, id: 4 };
const TRAFFIC: Readonly<Record<string, readonly Step[]>> = {
  icmp: wayOut(PACKETS.ICMP!),
  tcp: wayOut(PACKETS["TCP data"]!),
  udp: wayOut(PACKETS["UDP with identification"]!),
  fragments: [
    ["pod", ipFrame({ protocol: 17, id: 6, more: true, payload: udp(5000, 53, data(72)) })],
    ["pod", ipFrame({ protocol: 17, id: 6, offset: 80, payload: data(20, 9) })],
  ],
  error: [["pod", ipFrame({ protocol: 1, payload: [3, 3, 0, 0, 0, 0, 0, 0, ...quoted] })]],
  nat: [
    ["veth", ipFrame({ ...nat, to: "10.96.0.1", payload: tcp({ sequence: 5, ports: [9, 443] }) })],
    [
      "vtep",
      ipFrame({ ...nat, to: "10.244.7.8", payload: tcp({ sequence: 5, ports: [9, 6443] }) }),
    ],
  ],
  listener: [["pod", ip6Frame({ protocol: 58, payload: [143, 0, 0, 0, 0, 0, 0, 0] })]],
};

for (const [name, filter, wanted] of FILTERS) {
  Deno.test(`Matcher: ${name}`, () => {
    const matcher = new Matcher({ ...NO_FILTER, ...filter });
    const passed = Object.entries(TRAFFIC).filter(([kind, steps]) => {
      const answers = follow(steps).map((journey) => matcher.wants(journey));
      assert.equal(new Set(answers).size, 1, `all of ${kind} or nothing`);
      return answers[0];
    });
    assert.deepEqual(passed.map(([kind]) => kind), wanted);
  });
}
