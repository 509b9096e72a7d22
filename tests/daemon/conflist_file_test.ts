import assert from "node:assert/strict";
import { ConflistFile } from "../../daemon/conflist_file.ts";
import { conflistText } from "../../install/conflist.ts";

/** A folder that is gone at the end. */
function folder(): { readonly path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "twill-conflist-" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

Deno.test("ConflistFile: writes our list once, readable for all, and again when it was taken away", () => {
  using dir = folder();
  const path = `${dir.path}/net.d/10-flannel.conflist`;
  const file = new ConflistFile(path, "");
  assert.equal(file.publish(), true);
  assert.equal(Deno.readTextFileSync(path), conflistText());
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o644);
  assert.deepEqual([...Deno.readDirSync(`${dir.path}/net.d`)].length, 1);
  assert.equal(file.publish(), false);
  Deno.removeSync(path);
  assert.equal(file.publish(), true);
  Deno.writeTextFileSync(path, "{}");
  assert.equal(file.publish(), true);
});

Deno.test("ConflistFile: takes the text of another file, which must be a list", () => {
  using dir = folder();
  const [path, source] = [`${dir.path}/10-flannel.conflist`, `${dir.path}/cni-conf.json`];
  const file = new ConflistFile(path, source);
  assert.throws(() => file.publish(), /use CNI configuration .*cni-conf.json: No such file/);
  for (const bad of ["{", "null", "{}", '{"plugins": {}}']) {
    Deno.writeTextFileSync(source, bad);
    assert.throws(() => file.publish(), /Cannot use CNI configuration/);
  }
  const text = '{"name": "cbr0", "plugins": [{"type": "flannel"}]}';
  Deno.writeTextFileSync(source, text);
  assert.equal(file.publish(), true);
  assert.equal(Deno.readTextFileSync(path), text);
});
