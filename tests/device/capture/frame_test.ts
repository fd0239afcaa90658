import assert from "node:assert/strict";
import { isTimedMessage6 } from "../../../src/device/capture/frame.ts";
import { buildArp, buildIcmp } from "../../support/frames.ts";
import {
  buildAdvertisement,
  buildIcmp6,
  buildSolicitation,
  buildTcp6,
  ROUTER_ALERT,
} from "../../support/frames6.ts";

Deno.test("isTimedMessage6 is true of questions, announcements to all and reports", () => {
  const report = { dst: "ff02::16", headers: [ROUTER_ALERT], hopLimit: 1 };
  const timed = [
    buildSolicitation({ target: "2001:db8::1" }),
    buildSolicitation({ src: "::", target: "2001:db8::1", mac: null }),
    buildAdvertisement({ dst: "ff02::1" }),
    buildIcmp6({ type: 133, dst: "ff02::2" }),
    buildIcmp6({ ...report, type: 143 }),
    buildIcmp6({ ...report, type: 131 }),
  ];
  const others = [
    buildAdvertisement({ dst: "2001:db8::64" }),
    buildIcmp6({ type: 134, dst: "ff02::1" }),
    buildIcmp6({ ...report, type: 130 }),
    buildIcmp6(),
    buildTcp6(),
    buildTcp6({ headers: [ROUTER_ALERT] }),
    buildIcmp({ type: 133 }),
    buildArp(),
    buildIcmp6({ type: 143 }).slice(0, 60),
    new Uint8Array(3),
  ];
  assert.deepEqual(timed.map(isTimedMessage6), timed.map(() => true));
  assert.deepEqual(others.map(isTimedMessage6), others.map(() => false));
});
