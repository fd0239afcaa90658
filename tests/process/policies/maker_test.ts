/** What another thread makes is what is made in one. */
import assert from "node:assert/strict";
import { SeededRandom } from "../../../src/core/random.ts";
import { finish } from "../../../src/core/slices.ts";
import type { Surroundings } from "../../../src/datapath/running_policy.ts";
import { adopt } from "../../../src/policy/engine/adopt.ts";
import { compileInSlices } from "../../../src/policy/engine/compile.ts";
import {
  buffersOf,
  choosersOf,
  destinationsOf,
  listsIn,
} from "../../../src/policy/engine/image.ts";
import { doubtsIn } from "../../../src/policy/engine/doubts.ts";
import type { Evaluate } from "../../../src/policy/engine/environment.ts";
import { link } from "../../../src/policy/engine/link.ts";
import { outlineOf as treeOf } from "../../../src/policy/engine/outline.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { parse } from "../../../src/policy/notation/parse.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { outlineOf } from "../../../src/process/policies/texts.ts";
import { Maker } from "../../../src/process/policies/maker.ts";
import { AddressSet } from "../../../src/wire/address_set.ts";
import { parseHostAddress } from "../../../src/wire/host_address.ts";
import { Pdu } from "../../../src/wire/pdu.ts";
import { environmentOf } from "../../policy/engine/environment.ts";
import { constantsOf, fillNear } from "../../policy/engine/random_pdu.ts";
import { randomTable } from "../../policy/engine/random_table.ts";
import { randomPolicy } from "../../support/random_policy.ts";

const POLICIES = 600;
const DST_ADDRS = ["192.168.0.1", "10.0.0.2", "2001:db8::2"].map(parseHostAddress);
const LEAVING = {
  shop: AddressSet.of(["10.1.2.3", "192.168.0.254", "fd00::1"].map(parseHostAddress)),
  to: AddressSet.of([parseHostAddress("172.16.0.9")]),
};

const around: Omit<Surroundings, "pools"> = {
  dstAddrs: DST_ADDRS,
  leaving: Object.keys(LEAVING),
  maxConnections: 8,
  maxLimitSources: 65_536,
  isCarried: true,
  isIpv6On: true,
};

function sourceOf(text: string) {
  return { file: "random", text, pieces: [text], included: new Map(), missing: null };
}

Deno.test("Maker gives of random policies the texts, arrays and counters that this thread has", () => {
  const random = new SeededRandom(20_261_129);
  let [made, packets, kept, left] = [0, 0, 0, 0];
  for (let number = 0; made < POLICIES; number++) {
    const one = number % 4 === 3
      ? randomTable(random, 500, true)
      : randomPolicy(random, { maxNodes: 300, hasIpv6: true });
    const text = print(one);
    const { policy } = parse(text, { file: "random" });
    if (policy === null) continue; // it has functions of the user's
    made++;
    const what = `policy ${number}\n${text}`;
    const options = { dstAddrs: DST_ADDRS, leaving: LEAVING, isIpv6On: true };
    const [environment, other] = [environmentOf(options), environmentOf(options)];
    const before = makePlan(policy, environment);
    before.exits.forEach((_, node) => before.exits[node] = 1 + node);
    const plan = makePlan(policy, environment);

    const maker = new Maker();
    for (const piece of sourceOf(text).pieces) maker.read(piece);
    maker.know(outlineOf(sourceOf(text)));
    for (const piece of sourceOf(text).pieces) maker.read(piece);
    maker.load(outlineOf(sourceOf(text)), false);
    const there = maker.make(true, { ...around, pools: policy.pools });
    const image = structuredClone(there, { transfer: buffersOf(there) });
    const parts = [[4, image.ipv4], [6, image.ipv6!]] as const;
    const compiled = parts.map(([family, part]) => {
      const here = finish(compileInSlices(plan, family));
      const doubts = finish(doubtsIn(plan, family)).image;
      assert.deepEqual(part.code, here.code, what);
      assert.deepEqual({ ...part.doubts, leaving: null }, { ...doubts, leaving: null }, what);
      assert.deepEqual(part.leaving.map((pool) => LEAVING[pool as "to"]), here.leaving, what);
      left += part.leaving.length;
      return { family, part, here };
    });
    assert.deepEqual(image.outline, finish(treeOf(plan)), what);
    assert.deepEqual(listsIn(image), policy.lists, what);
    adopt(plan, before);
    assert.deepEqual([...image.adopted].map((node) => before.exits[node] ?? 0), [...plan.exits]);
    kept += image.adopted.filter((node) => node >= 0).length;

    // It runs as the other one does, with its own choosers.
    const targets = Int32Array.from(
      destinationsOf(image),
      ({ pool, port, backend }) => other.target(pool, port, backend),
    );
    const choosers = finish(choosersOf(image, other, () => undefined));
    const exits = new Float64Array(image.adopted.length);
    const { steps } = other;
    const linkage = { steps, exits, choosers, targets, customs: [] };
    const fresh = makePlan(policy, environmentOf(options));
    const constants = constantsOf(fresh);
    for (const { family, part, here: { code, leaving: sets, customs } } of compiled) {
      const leaving = part.leaving.map((pool) => LEAVING[pool as "to"]);
      const run = finish(link(part.code, { ...linkage, leaving })).at(-1) as Evaluate;
      const expect = finish(
        link(code, { ...fresh, steps: fresh.environment.steps, leaving: sets, customs }),
      ).at(-1) as Evaluate;
      for (let i = 0; i < 20; i++, packets++) {
        const [a, b] = [new Pdu(), new Pdu()];
        fillNear(a, constants, random, family);
        Object.assign(b, a);
        assert.equal(run(a), expect(b), what);
        assert.equal(a.exit, b.exit, what);
      }
    }
    assert.deepEqual(exits, fresh.exits, what);
  }
  assert.ok(packets > 10_000 && kept > 5000 && left > 10, `${packets}, ${kept}, ${left}`);
});
