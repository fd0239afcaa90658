import assert from "node:assert/strict";
import { isRun } from "../../src/process/signals.ts";

const cases: readonly [line: string, isRun: boolean][] = [
  ["", true],
  ["--net=tap100 --dst-addrs=192.168.0.1", true],
  ["--net tap100 --dst-addrs 192.168.0.1", true],
  ["--policy policy --net=replay", true],
  ["--preserve-source --net explain", true],
  ["policy check", false],
  ["explain --dst-addrs=192.168.0.1", false],
  ["--dst-addrs=192.168.0.1 explain x", false],
  ["--dst-addrs 192.168.0.1 replay --pcap=a", false],
  ["--preserve-source replay", false],
  ["--policy policy replay", false],
];
for (const [line, wanted] of cases) {
  Deno.test(`isRun "${line}": ${wanted}`, () => {
    assert.equal(isRun(line.split(" ").filter((word) => word !== "")), wanted);
  });
}
