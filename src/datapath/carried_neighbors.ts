/**
 * The neighbours of a link as the fast path's memory has them: ARP says there where each is, and
 * learns there which of them the kernel sends to; of those of IPv6 Neighbor Discovery does. Each
 * has the same share of the numbers.
 */
import type { SharedMemory } from "../fastpath/shared_memory.ts";
import type { OtherWay } from "../stack/neighbors.ts";

/** A family's neighbours on one of the links. */
export interface Neighborhood {
  readonly link: number;
  /** How many there are. */
  readonly links: number;
  readonly isIpv6: boolean;
}

/** How many have numbers, and the first of these; none of IPv6 in a memory without it. */
export function numbersOf(
  { layout: { neighbors, isIpv6On = false } }: SharedMemory,
  { link, links, isIpv6 }: Neighborhood,
): { readonly first: number; readonly most: number } {
  if (isIpv6 && !isIpv6On) return { first: 0, most: 0 };
  const most = Math.floor(neighbors / (isIpv6On ? 2 * links : links));
  return { first: most * (isIpv6 ? links + link : link), most };
}

/** What ARP on a link is told of packets that the kernel sends, and tells of who is where. */
export function otherWayOf(memory: SharedMemory, neighborhood: Neighborhood): OtherWay {
  const { first, most } = numbersOf(memory, neighborhood);
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
