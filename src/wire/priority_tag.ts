/**
 * Priority tags: an IEEE 802.1Q tag whose VLAN identifier is 0 gives a priority and names no VLAN
 * (IEEE 802.1Q-2022 Table 9-2). Such a frame is treated as untagged. Only the first tag is removed.
 *
 *     | vnet header | destination, source | 0x8100, priority and VID | EtherType …
 *           | vnet header | destination, source                      | EtherType …    4 bytes later
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

/** Removes the tag: the frame begins `TAG_BYTES` later and is that much shorter. */
export function stripTag(view: DataView, frame: number): void {
  // Backwards, as source and target overlap: five words, then the other two of 22 bytes.
  for (let at = frame + ADDRESS_BYTES - 4; at > frame - VNET_BYTES; at -= 4) {
    view.setInt32(at + TAG_BYTES, view.getInt32(at));
  }
  view.setInt16(frame - VNET_BYTES + TAG_BYTES, view.getInt16(frame - VNET_BYTES));
  cutFront(view, frame + TAG_BYTES, TAG_BYTES);
}
