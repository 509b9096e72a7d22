import assert from "node:assert/strict";
import fc from "fast-check";
import { formatResult, parseResult, type Result } from "../../cni/result.ts";
import { formatOf, type Version, VERSIONS } from "../../cni/versions.ts";
import { OpError } from "../../engine/errors.ts";
import { type Json, jsonObject, parseJson, stringifyJson } from "../../engine/json.ts";

/** One result in every form; each form converts into each other as far as it can say things. */
const FORMS: Readonly<Record<ReturnType<typeof formatOf>, string>> = {
  "1.0": `{
    "interfaces": [{"name":"cni0","mac":"00:11:22:33:44:55","mtu":1450},
      {"name":"eth0","sandbox":"/run/netns/x","socketPath":"/s","pciID":"0000:00:1f.6"}],
    "ips": [{"interface":0,"address":"10.1.2.3/24","gateway":"10.1.2.1"},
      {"interface":-1,"address":"fd00::3/64"}, {"interface":7,"address":"10.9.2.3/24"}],
    "routes": [{"dst":"10.9.1.1/8","gw":"10.1.2.9","mtu":1,"advmss":2,"priority":3,"table":0,"scope":0},
      {"dst":"::/0"}],
    "dns": {"nameservers":["1.1.1.1"],"domain":"d","search":["s"],"options":["o"]}}`,
  "0.3": `{
    "interfaces": [{"name":"cni0","mac":"00:11:22:33:44:55"}, {"name":"eth0","sandbox":"/run/netns/x"}],
    "ips": [{"version":"4","interface":0,"address":"10.1.2.3/24","gateway":"10.1.2.1"},
      {"version":"6","interface":-1,"address":"fd00::3/64"},
      {"version":"4","interface":7,"address":"10.9.2.3/24"}],
    "routes": [{"dst":"10.9.1.1/8","gw":"10.1.2.9","mtu":1,"advmss":2,"priority":3,"table":0,"scope":0},
      {"dst":"::/0"}],
    "dns": {"nameservers":["1.1.1.1"],"domain":"d","search":["s"],"options":["o"]}}`,
  "0.1": `{
    "ip4": {"ip":"10.1.2.3/24","gateway":"10.1.2.1","routes":[{"dst":"10.9.1.1/8","gw":"10.1.2.9"}]},
    "ip6": {"ip":"fd00::3/64","routes":[{"dst":"::/0"}]},
    "dns": {"nameservers":["1.1.1.1"],"domain":"d","search":["s"],"options":["o"]}}`,
};

function plain(value: Json): unknown {
  return JSON.parse(stringifyJson(value));
}

for (const from of ["1.0.0", "1.1.0"] as const) {
  for (const version of VERSIONS) {
    Deno.test(`a result of ${from} in the form of ${version}`, () => {
      const result = parseResult(parseJson(FORMS["1.0"]), from);
      const want = { cniVersion: version, ...JSON.parse(FORMS[formatOf(version)]) };
      assert.deepEqual(plain(formatResult(result, version)), want);
    });
  }
}

for (const version of VERSIONS) {
  Deno.test(`a result of ${version} survives being read and written`, () => {
    const text = FORMS[formatOf(version)];
    const result = parseResult(parseJson(text), version);
    assert.deepEqual(plain(formatResult(result, version)), {
      cniVersion: version,
      ...JSON.parse(text),
    });
  });
}

Deno.test("a result of 0.2.0 in the form of 1.0.0", () => {
  assert.deepEqual(plain(formatResult(parseResult(parseJson(FORMS["0.1"]), "0.2.0"), "1.0.0")), {
    cniVersion: "1.0.0",
    ips: [{ address: "10.1.2.3/24", gateway: "10.1.2.1" }, { address: "fd00::3/64" }],
    routes: [{ dst: "10.9.1.1/8", gw: "10.1.2.9" }, { dst: "::/0" }],
    dns: { nameservers: ["1.1.1.1"], domain: "d", search: ["s"], options: ["o"] },
  });
});

Deno.test("an empty result: nothing in 1.0.0, dns in 0.3.1, impossible in 0.2.0", () => {
  const empty = parseResult(null, "1.0.0");
  assert.deepEqual(plain(formatResult(empty, "1.0.0")), { cniVersion: "1.0.0" });
  assert.deepEqual(plain(formatResult(empty, "0.3.1")), { cniVersion: "0.3.1", dns: {} });
  assert.throws(() => formatResult(empty, "0.2.0"), {
    code: 999,
    message: /no valid IP addresses/,
  });
});

Deno.test("an IPv4-mapped address counts as IPv4 in old forms", () => {
  const value = parseJson('{"ips":[{"address":"::ffff:10.0.0.1/120"}]}');
  const old = formatResult(parseResult(value, "1.0.0"), "0.3.1");
  assert.match(stringifyJson(old), /"version":"4"/);
});

Deno.test("a result says its own version, in any spelling of the member; empty is none", () => {
  const of = (cniVersion: string, assumed: Version): number => {
    const value = parseJson(`{"CNIVersion":"${cniVersion}","ip4":{"ip":"10.0.0.1/8"}}`);
    return parseResult(value, assumed).ips.length;
  };
  assert.deepEqual([of("0.2.0", "1.0.0"), of("", "0.1.0"), of("", "1.0.0")], [1, 1, 0]);
  assert.throws(() => of("3.0.0", "1.0.0"), SyntaxError);
});

const WRONG = [
  "[]",
  '"x"',
  '{"ips":[null]}',
  '{"ips":[{}]}',
  '{"ips":[{"address":null}]}',
  '{"ips":[{"address":"10.0.0.1"}]}',
  '{"ips":[{"address":"10.0.0.1/8","interface":"0"}]}',
  '{"ips":[{"address":"10.0.0.1/8","gateway":"x"}]}',
  '{"routes":[{}]}',
  '{"routes":{}}',
  '{"interfaces":[null]}',
  '{"interfaces":[{"name":5}]}',
  '{"dns":[]}',
  '{"dns":{"search":["a",1]}}',
];

for (const text of WRONG) {
  Deno.test(`parseResult refuses ${text}`, () => {
    assert.throws(() => parseResult(parseJson(text), "1.0.0"), SyntaxError);
  });
}

Deno.test("parseResult and formatResult: any document is read, or refused with our errors", () => {
  const part = fc.oneof(
    fc.constantFrom<unknown>(null, 5, "10.0.0.1/8", "x", [], {}, [null], [{}]),
    fc.constantFrom<unknown>([{ address: "10.0.0.1/8" }], [{ dst: "::/0" }], [{ name: "a" }]),
  );
  const members = ["interfaces", "ips", "routes", "dns", "ip4", "ip6", "cniVersion"];
  const document = fc.record(Object.fromEntries(members.map((m) => [m, part])), {
    requiredKeys: [],
  });
  const version = fc.constantFrom(...VERSIONS);
  fc.assert(fc.property(document, version, version, (value, assumed, wanted) => {
    try {
      const result: Result = parseResult(parseJson(JSON.stringify(value)), assumed);
      parseResult(formatResult(result, wanted), wanted);
    } catch (error) {
      assert.ok(error instanceof SyntaxError || error instanceof OpError);
    }
  }));
});

Deno.test("formatResult: the members have an order of their own", () => {
  const result = parseResult(jsonObject({ ips: [jsonObject({ address: "10.0.0.1/8" })] }), "1.0.0");
  assert.equal(
    stringifyJson(formatResult(result, "1.0.0")),
    '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1/8"}]}',
  );
});
