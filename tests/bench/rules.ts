/**
 * What a policy's length costs: the whole path in memory at 65,536 flows, with policies of 10 to
 * 10,000 address and port rules mixed, the matching rule last. Subjects alternate; medians of
 * ROUNDS.
 *
 *     deno task bench rules
 */
import { ManualClock } from "../../src/core/clock.ts";
import type { Policy, Predicate, Tree } from "../../src/policy/language/ast.ts";
import {
  drop,
  dstAddrs,
  firstMatch,
  forward,
  ipSrc,
  not,
  otherwise,
  policy,
  reject,
  tcpDport,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { subject } from "./mix.ts";

const FLOWS = 65_536;
const ROUNDS = 7;
const PACKETS = 1_000_000;
const SIZES = [10, 100, 1_000, 10_000];

/** Time stands still: there are no ARP replies here. */
const clock = new ManualClock();

/** `rules` arms for side A, of which only the last matches the bench's traffic. */
function longPolicy(rules: number): Policy {
  const arms = Array.from({ length: rules - 1 }, (_, i): [Predicate, Tree] => {
    const then = i % 3 === 0 ? reject : drop;
    return i % 2 === 0
      ? [tcpDport.eq(10_000 + i), then]
      : [ipSrc.eq(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`), then];
  });
  const last: [Predicate, Tree] = [tcpDport.eq(2000), translateAToB(forward)];
  return policy(
    "drop",
    firstMatch([
      [not(ipSrc.oneOf(dstAddrs)), firstMatch([...arms, last])],
      [otherwise, translateBToA(forward)],
    ]),
  );
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const subjects = SIZES.map((size) => ({
  size,
  appliance: subject(FLOWS, clock, longPolicy(size)).appliance,
  nsPerPacket: [] as number[],
}));

for (let round = 0; round <= ROUNDS; round++) {
  for (const { appliance, nsPerPacket } of subjects) {
    const before = appliance.metrics.decisions[1]!;
    const startMs = performance.now();
    for (let packets = 0; packets < PACKETS; packets += 64) appliance.poll(0);
    const elapsedMs = performance.now() - startMs;
    const forwarded = appliance.metrics.decisions[1]! - before;
    if (forwarded < PACKETS) throw new Error(`Cannot measure: only ${forwarded} were forwarded`);
    if (round > 0) nsPerPacket.push(elapsedMs * 1e6 / forwarded); // round 0 warms up
  }
}

const base = median(subjects[0]!.nsPerPacket);
const lines = subjects.map(({ size, nsPerPacket }) => {
  const ns = median(nsPerPacket);
  const spread = `${Math.min(...nsPerPacket).toFixed(0)}–${Math.max(...nsPerPacket).toFixed(0)}`;
  return `${String(size).padStart(6)} ${ns.toFixed(0).padStart(10)} ${spread.padStart(10)} ` +
    `${(ns / base).toFixed(2).padStart(6)}`;
});
const text = [
  `whole path in memory, ${FLOWS} flows, median of ${ROUNDS} rounds`,
  " rules  ns/packet     spread  ratio",
  ...lines,
];
await Deno.stdout.write(new TextEncoder().encode(`${text.join("\n")}\n`));
