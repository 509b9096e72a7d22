/** flannel's records, when an ADD was killed in the middle. */

import assert from "node:assert/strict";
import { Records } from "../../cni/flannel/records.ts";

Deno.test("Records: an ADD killed between the two names of its record leaves nothing behind", () => {
  const dir = Deno.makeTempDirSync();
  try {
    const [records, owner] = [new Records(dir), { containerId: "c1", ifname: "eth0" }];
    Deno.writeTextFileSync(`${dir}/..c1@eth0`, "first");
    Deno.linkSync(`${dir}/..c1@eth0`, `${dir}/c1`);
    records.put(owner, "second");
    assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), [".c1@eth0", "c1"]);
    const record = records.find(owner);
    assert.equal(record?.text, "second");
    records.remove(owner, record);
    assert.deepEqual([...Deno.readDirSync(dir)], []);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
