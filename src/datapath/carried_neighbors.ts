/**
 * The neighbours of a link as the fast path's memory has them: ARP says there where each is, and
 * learns there which of them the kernel sends to. Each link has the same share of the numbers.
 */
import type { SharedMemory } from "../fastpath/shared_memory.ts";
import type { OtherWay } from "../stack/neighbors.ts";

/** Of so many links. */
export function neighborsPerLink({ layout }: SharedMemory, links: number): number {
  return Math.floor(layout.neighbors / links);
}

/** What ARP on a link is told of packets that the kernel sends, and tells of who is where. */
export function otherWayOf(memory: SharedMemory, link: number, links: number): OtherWay {
  const most = neighborsPerLink(memory, links);
  const first = link * most;
  return {
    moved: (number, mac) => {
      if (number < most) memory.setNeighbor(first + number, mac);
    },
    forgotten: (number) => {
      if (number < most) memory.forgetNeighbor(first + number);
    },
    usedMs: (number) => number < most ? memory.usedMs(first + number) : 0,
    askedMs: (number) => number < most ? memory.askedMs(first + number) : 0,
    answeredMs: (number) => number < most ? memory.answeredMs(first + number) : 0,
  };
}
