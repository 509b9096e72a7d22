/** flannel's records, when an ADD was killed in the middle. */

import assert from "node:assert/strict";
import { Records, syncNow } from "../../cni/flannel/records.ts";

Deno.test("Records: an ADD killed between the two names of its record leaves nothing behind", () => {
  const dir = Deno.makeTempDirSync();
  try {
    const [records, owner] = [new Records(dir), { containerId: "c1", ifname: "eth0" }];
    Deno.writeTextFileSync(`${dir}/..c1@eth0`, "first");
    Deno.linkSync(`${dir}/..c1@eth0`, `${dir}/c1`);
    records.put(owner, "second", syncNow);
    assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), [".c1@eth0", "c1"]);
    const record = records.find(owner);
    assert.equal(record?.text, "second");
    records.remove(owner, record);
    assert.deepEqual([...Deno.readDirSync(dir)], []);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

/** What a kill can leave of an ADD that replaces a record: each moment, as files by name. */
const MOMENTS: Readonly<Record<string, { readonly plain?: string; readonly draft?: string }>> = {
  "before the old name went": { plain: "old", draft: "new" },
  "after it went": { draft: "new" },
  "after the new one came": { plain: "new", draft: "new" },
};

for (const [moment, { plain, draft }] of Object.entries(MOMENTS)) {
  Deno.test(`Records: an ADD killed as it replaces a record, ${moment}`, () => {
    const owner = { containerId: "c1", ifname: "eth0" };
    for (const next of ["DEL", "ADD, DEL"]) {
      const dir = Deno.makeTempDirSync();
      try {
        const records = new Records(dir);
        Deno.writeTextFileSync(`${dir}/.c1@eth0`, "old");
        if (draft !== undefined) Deno.writeTextFileSync(`${dir}/..c1@eth0`, draft);
        if (plain !== undefined) {
          Deno.linkSync(`${dir}/${plain === "old" ? ".c1@eth0" : "..c1@eth0"}`, `${dir}/c1`);
        }
        if (next !== "DEL") records.put(owner, "newest", syncNow);
        const record = records.find(owner);
        assert.ok(record !== undefined, "DEL has a document");
        if (next !== "DEL") assert.equal(record.text, "newest");
        records.remove(owner, record);
        assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name), [], next);
      } finally {
        Deno.removeSync(dir, { recursive: true });
      }
    }
  });
}
