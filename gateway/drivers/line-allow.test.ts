import { expect, it } from "vitest";
import { admission, isAllowable, plainAddress } from "./line-allow.ts";

it("admits everybody where nothing is said, else addresses and networks of both families", () => {
  expect(admission(undefined)("203.0.113.9")).toBe(true);
  const admits = admission(["10.8.0.7", "192.168.4.0/22", "fd00::/8", "2001:db8::1"]);
  const peers = ["10.8.0.7", "192.168.7.255", "fd12::3", "2001:db8::1", "::ffff:10.8.0.7"];
  expect(peers.filter((peer) => !admits(peer))).toEqual([]);
  expect(["10.8.0.8", "192.168.8.0", "fe80::1", "2001:db8::2", "", "box"].filter(admits)).toEqual([]);
  // An IPv4 network is none of IPv6, and the widest one admits all of its family.
  expect([admission(["0.0.0.0/0"])("1.2.3.4"), admission(["0.0.0.0/0"])("fd00::1")]).toEqual([true, false]);
});

it("tells what is an address or a network", () => {
  expect(
    ["10.0.0.1", "10.0.0.0/8", "::1", "fe80::/10", "1.2.3.4/32", "::/0"].filter((text) => !isAllowable(text)),
  ).toEqual([]);
  const others = [
    "box",
    "10.0.0",
    "10.0.0.1/33",
    "10.0.0.1/",
    "::1/129",
    "10.0.0.1/-1",
    "10.0.0.1 /8",
    "fe80::1%eth0",
    "/8",
  ];
  expect(others.filter(isAllowable)).toEqual([]);
});

it("writes an address of IPv4 as people do, and leaves a zone out", () => {
  expect(["::ffff:10.0.0.1", "fe80::1%eth0", "::1", "10.0.0.1"].map(plainAddress)).toEqual([
    "10.0.0.1",
    "fe80::1",
    "::1",
    "10.0.0.1",
  ]);
});
