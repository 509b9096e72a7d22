import assert from "node:assert/strict";
import { Log } from "../../../daemon/log.ts";
import { nodeIdentity } from "../../../daemon/store/node_id.ts";

/** A folder of its own, gone at the end of the scope. */
class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "twill-node-" });
  readonly lines: string[] = [];
  readonly log = new Log({ write: (line) => this.lines.push(line) });

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

Deno.test("nodeIdentity: made once, for root only, and found again", () => {
  using folder = new Folder();
  const path = `${folder.path}/state/node-id`;
  const first = nodeIdentity(path, "one", folder.log);
  assert.match(first.id, /^[0-9a-f]{32}$/);
  assert.equal(Deno.readTextFileSync(path), `${first.id}\n`);
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  assert.equal(Deno.statSync(`${folder.path}/state`).mode! & 0o777, 0o700);
  assert.deepEqual(nodeIdentity(path, "renamed", folder.log), { id: first.id, name: "renamed" });
  assert.deepEqual([...Deno.readDirSync(`${folder.path}/state`)].length, 1);
  assert.deepEqual(folder.lines, []);
});

Deno.test("nodeIdentity: a damaged file is replaced, with a word", () => {
  using folder = new Folder();
  const path = `${folder.path}/node-id`;
  Deno.writeTextFileSync(path, "one\n");
  const { id } = nodeIdentity(path, "one", folder.log);
  assert.equal(nodeIdentity(path, "one", folder.log).id, id);
  assert.equal(folder.lines.length, 1);
  assert.match(folder.lines[0] ?? "", /id is damaged/);
});

Deno.test("nodeIdentity: a place that cannot be written costs a warning, not the start", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(`${folder.path}/file`, "");
  const { id } = nodeIdentity(`${folder.path}/file/node-id`, "one", folder.log);
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.match(folder.lines.join(""), /Cannot write .*node-id/);
});
