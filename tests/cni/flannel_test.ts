import assert from "node:assert/strict";
import fc from "fast-check";
import { delegateDocument } from "../../cni/flannel/document.ts";
import { Fields, JsonObject, parseJson, stringifyJson } from "../../engine/json.ts";
import { parseSubnetEnv } from "../../engine/subnet_env.ts";

const ENV = parseSubnetEnv(
  [
    "FLANNEL_NETWORK=10.1.0.0/16",
    "FLANNEL_SUBNET=10.1.17.1/24",
    "FLANNEL_MTU=1450",
    "FLANNEL_IPMASQ=true",
  ].join("\n"),
  "subnet.env",
);

function documentOf(text: string): string {
  const config = parseJson(text);
  assert.ok(config instanceof JsonObject);
  return stringifyJson(delegateDocument(new Fields(config), "cbr0", ENV));
}

Deno.test("delegateDocument: keeps the order and the spelling of what was given", () => {
  assert.equal(
    documentOf('{"cniVersion":"1.0.0","delegate":{"zz":1.50,"MTU":1400,"aa":[]}}'),
    '{"zz":1.50,"MTU":1400,"aa":[],"name":"cbr0","cniVersion":"1.0.0","type":"bridge",' +
      '"ipMasq":false,"isGateway":true,"ipam":{"type":"host-local",' +
      '"ranges":[[{"subnet":"10.1.17.0/24"}]],"routes":[{"dst":"10.1.0.0/16"}]}}',
  );
});

Deno.test("delegateDocument: what it sets leaves no second spelling", () => {
  const text = documentOf(
    '{"ipam":{"Ranges":1,"TYPE":null},"delegate":{"CniVersion":"9"},"CNIVERSION":"0.3.1"}',
  );
  assert.deepEqual(text.match(/"(?:cniversion|ranges|type)"/gi), [
    '"cniVersion"',
    '"type"',
    '"type"',
    '"ranges"',
  ]);
});

for (const name of ["name", "ipam", "Name", "IPAM"]) {
  Deno.test(`delegateDocument: refuses ${name} of the delegate, even as null`, () => {
    assert.throws(() => documentOf(`{"delegate":{"${name}":null}}`), SyntaxError);
  });
}

Deno.test("delegateDocument: any configuration gives a document, or SyntaxError", () => {
  const names = fc.constantFrom(
    "delegate",
    "ipam",
    "runtimeConfig",
    "cniVersion",
    "type",
    "Type",
    "routes",
  );
  const inner = fc.dictionary(names, fc.jsonValue());
  fc.assert(fc.property(fc.dictionary(names, fc.oneof(inner, fc.jsonValue())), (config) => {
    try {
      const document = JSON.parse(documentOf(JSON.stringify(config)));
      assert.equal(document.name, "cbr0");
      assert.deepEqual(document.ipam.ranges, [[{ subnet: "10.1.17.0/24" }]]);
    } catch (error) {
      assert.ok(error instanceof SyntaxError, String(error));
    }
  }));
});
