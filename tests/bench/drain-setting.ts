/** The gateway of `npm run bench:drain`: one of the demonstration's registry, with 1,000 tags polled once a second. */
export const drainGateway = {
  group: "xinghua-casting",
  node: "gw-casting",
  password: "secret-of-the-bench",
  devices: Array.from({ length: 10 }, (_, i) => `device-${i}`),
  metricsPerDevice: 100,
};
