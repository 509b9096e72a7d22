import assert from "node:assert/strict";
import { vlanConfig } from "../../cni/bridge/vlan_config.ts";
import { Fields, parseJson } from "../../engine/json.ts";

function read(config: unknown): ReturnType<typeof vlanConfig> {
  return vlanConfig(Fields.document(parseJson(JSON.stringify(config))));
}

Deno.test("vlanConfig merges and sorts a trunk", () => {
  const vlanTrunk = [
    { id: 300 },
    { minID: 101, maxID: 103 },
    { ID: 102 },
    { id: 5, MinID: 200, maxId: 201 },
  ];
  assert.deepEqual(read({ vlan: 7, VLANTrunk: vlanTrunk, preserveDefaultVlan: true }), {
    access: 7,
    trunk: [5, 101, 102, 103, 200, 201, 300],
    keepDefault: true,
  });
});

Deno.test("vlanConfig is nothing where no VLAN is asked for", () => {
  for (const config of [{}, { vlan: 0 }, { vlan: null, vlanTrunk: [] }, { vlanTrunk: null }]) {
    assert.equal(read({ ...config, preserveDefaultVlan: true }), undefined);
  }
});

Deno.test("vlanConfig names what is wrong", () => {
  assert.throws(() => read({ vlanTrunk: [{ id: 1 }, { minID: 5 }] }), {
    name: "SyntaxError",
    message: "vlanTrunk[1]: minID and maxID go together, maxID is missing",
  });
  assert.throws(() => read({ vlan: "7" }), /^SyntaxError: vlan: want an integer, got "7"$/);
  assert.throws(() => read({ vlanTrunk: [{ id: 1.5 }] }), /vlanTrunk\[0\].id: want an integer/);
});
