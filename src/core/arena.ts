/**
 * The one packet buffer. Every frame, received or made here, lives in this ArrayBuffer and is known
 * by `(offset, length)`; nothing on the packet path makes an object.
 *
 *     start                   start + RX_BYTES            start + ARENA_BYTES
 *     |  frames of one burst  |  frames we make ourselves |
 *
 * Each interface has such a part of the buffer, and lists of what it has received and is to send. A
 * frame that came in by one interface leaves by the other from where it is: offsets mean the same
 * everywhere.
 *
 * An offset points at the Ethernet header. The `VNET_BYTES` in front of it hold the frame's `struct
 * virtio_net_hdr`; since 10 + 14 is a multiple of 4, the IP header is 4-byte aligned wherever the
 * record starts on a 4-byte boundary.
 */

/** Length of `struct virtio_net_hdr` (virtio 1.2 §5.1.6), the record prefix of each frame. */
export const VNET_BYTES = 10;

/**
 * Room in front of each frame's vnet header, received or made here: a packet of IPv4 becomes one of
 * IPv6 where it lies, and an ICMP error has two headers that get longer by 20 bytes.
 */
export const FRONT_BYTES = 40;

/** Most frames that one burst holds. */
export const BURST_FRAMES = 64;

const CACHE_LINE_BYTES = 64;

/**
 * Where a record of a burst is read to: each to a slot of its own, so that all can be read at once.
 * The longest has a vnet header, an Ethernet header with a VLAN tag and an IPv6 header with 64 KiB
 * behind it; what it leaves free is the next one's room in front. An odd number of cache lines:
 * what stands at the slots' beginnings shall not meet in one place of the cache.
 */
export const SLOT_BYTES: number = 1027 * CACHE_LINE_BYTES;

/** The first line is the first slot's room in front. */
const RX_BYTES = CACHE_LINE_BYTES + BURST_FRAMES * SLOT_BYTES;
const SCRATCH_BYTES = 1 << 19;

const ARENA_BYTES = RX_BYTES + SCRATCH_BYTES;

/**
 * The bits of all offsets in a buffer of two arenas. After `frame &= OFFSET_BITS` V8 knows that
 * nothing added to it overflows, which it would check at each field that is read.
 */
export const OFFSET_BITS: number = (1 << 24) - 1;

/** Room for the frames of a burst and for as many frames and replies of our own. */
const TX_FRAMES = 1024;

export class Arena {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;

  /** What a burst may fill, from `rxStart` to before `rxEnd`. */
  readonly rxStart: number;
  readonly rxEnd: number;

  /** Received frames: offset, length, offset, length … */
  readonly rx: Uint32Array<ArrayBuffer> = new Uint32Array(2 * BURST_FRAMES);
  rxCount = 0;

  /** Frames to send, as `rx`. */
  readonly tx: Uint32Array<ArrayBuffer> = new Uint32Array(2 * TX_FRAMES);
  txCount = 0;

  readonly #end: number;
  #scratchEnd: number;

  /** `count` arenas, one for each interface, in one buffer. */
  static share(count: number): Arena[] {
    const buffer = new ArrayBuffer(count * ARENA_BYTES);
    return Array.from({ length: count }, (_, i) => new Arena(buffer, i * ARENA_BYTES));
  }

  /** The part of `buffer` from `start` on. */
  constructor(buffer: ArrayBuffer = new ArrayBuffer(ARENA_BYTES), start = 0) {
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.rxStart = start + CACHE_LINE_BYTES;
    this.rxEnd = start + RX_BYTES;
    this.#end = start + ARENA_BYTES;
    this.#scratchEnd = this.rxEnd;
  }

  /** Queues the frame at `offset` for sending; false when the list is full. */
  send(offset: number, lengthBytes: number): boolean {
    if (this.txCount === TX_FRAMES) return false;
    this.tx[2 * this.txCount] = offset;
    this.tx[2 * this.txCount + 1] = lengthBytes;
    this.txCount++;
    return true;
  }

  /**
   * Room for a frame of our own, with a zeroed vnet header in front: its Ethernet offset, or -1
   * when the burst's replies have used the scratch space up.
   */
  scratch(lengthBytes: number): number {
    const offset = this.#scratchEnd + FRONT_BYTES + VNET_BYTES;
    const end = offset + lengthBytes;
    if (end > this.#end) return -1;
    this.bytes.fill(0, offset - VNET_BYTES, offset);
    this.#scratchEnd = (end + 3) & ~3;
    return offset;
  }

  /** True if `frames` frames with `lengthBytes` bytes in all can still be made and queued. */
  hasRoom(frames: number, lengthBytes: number): boolean {
    // each on a 4-byte boundary
    const recordBytes = lengthBytes + frames * (FRONT_BYTES + VNET_BYTES + 3);
    return this.txCount + frames <= TX_FRAMES &&
      this.#scratchEnd + recordBytes <= this.#end;
  }

  /** A copy of the frame with its vnet header, to be sent in a later burst. */
  copyOut(offset: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(offset - VNET_BYTES, offset + lengthBytes);
  }

  /**
   * Queues a copy that `copyOut` made, from scratch space: its offset, or -1 when there is no room.
   */
  sendCopy(record: Uint8Array<ArrayBuffer>): number {
    const offset = this.scratch(record.length - VNET_BYTES);
    if (offset < 0) return -1;
    this.bytes.set(record, offset - VNET_BYTES);
    return this.send(offset, record.length - VNET_BYTES) ? offset : -1;
  }

  /** Forgets what was queued and the scratch frames: called once the list has been written. */
  sent(): void {
    this.txCount = 0;
    this.#scratchEnd = this.rxEnd;
  }
}
