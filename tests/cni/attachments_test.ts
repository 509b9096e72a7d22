import assert from "node:assert/strict";
import { validAttachments } from "../../cni/attachments.ts";
import { Fields, parseJson } from "../../engine/json.ts";

function of(text: string): ReturnType<typeof validAttachments> {
  return validAttachments(Fields.document(parseJson(text)));
}

const C1 = { containerId: "c1", ifname: "eth0" };

Deno.test("validAttachments: absent is not empty", () => {
  assert.equal(of("{}"), undefined);
  assert.deepEqual(of('{"cni.dev/valid-attachments":null}'), []);
  assert.deepEqual(of('{"cni.dev/valid-attachments":[]}'), []);
});

Deno.test("validAttachments: the newer name comes first, even as null", () => {
  const old = '"cni.dev/attachments":[{"containerID":"c1","ifname":"eth0"}]';
  assert.deepEqual(of(`{${old}}`), [C1]);
  assert.deepEqual(of(`{${old},"cni.dev/valid-attachments":null}`), []);
});

for (const list of ["5", "{}", "[null]", "[{}]", '[{"containerID":"c1"}]', '["c1"]']) {
  Deno.test(`validAttachments: refuses ${list}`, () => {
    assert.throws(() => of(`{"cni.dev/valid-attachments":${list}}`), SyntaxError);
  });
}
