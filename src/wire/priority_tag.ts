/**
 * Priority tags: an IEEE 802.1Q tag whose VLAN identifier is 0 says how urgent a frame is and names no
 * VLAN (IEEE 802.1Q-2022 Table 9-2). Such a frame is as an untagged one. One tag only: a second one stays.
 *
 *     | vnet header | destination, source | 0x8100, priority and VID | EtherType …
 *           | vnet header | destination, source                      | EtherType …     4 bytes forward
 */
import { VNET_BYTES } from "../core/arena.ts";
import * as ethernet from "./ethernet.ts";
import { cutFront } from "./vnet.ts";

export const TAG_BYTES = 4;

const ADDRESS_BYTES = 12;
const VLAN_ID = 0x0fff;

/** True if the frame of at least `ETHERNET_BYTES` has a tag that names no VLAN. */
export function hasPriorityTag(view: DataView, frame: number, frameBytes: number): boolean {
  const type = ethernet.etherType(view, frame);
  return (type === ethernet.ETHERTYPE_VLAN || type === ethernet.ETHERTYPE_QINQ) &&
    frameBytes >= ethernet.ETHERNET_BYTES + TAG_BYTES &&
    (view.getUint16(frame + ethernet.ETHERNET_BYTES) & VLAN_ID) === 0;
}

/** Takes the tag out: the frame begins `TAG_BYTES` later and is as much shorter. */
export function stripTag(view: DataView, frame: number): void {
  // Backwards, as the two places overlap: words, and the two bytes that are left of 22.
  for (let at = frame + ADDRESS_BYTES - 4; at > frame - VNET_BYTES; at -= 4) {
    view.setInt32(at + TAG_BYTES, view.getInt32(at));
  }
  view.setInt16(frame - VNET_BYTES + TAG_BYTES, view.getInt16(frame - VNET_BYTES));
  cutFront(view, frame + TAG_BYTES, TAG_BYTES);
}
