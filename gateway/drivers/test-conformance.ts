import { JilianError } from "@jilian/domain/errors.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import type { Driver, RawReading } from "../model.ts";

/** A device of one protocol as the suite needs it: what its driver reads, and what can be done to it. */
export type SuiteDevice = {
  /** The driver as the gateway makes it, for tags that the device has. Each call makes another one; the suite closes them. */
  readonly create: (options?: {
    /** Configured as `simulated: true`. */
    readonly simulated?: boolean;
    /** With one tag more, the last, which the device does not have. */
    readonly withMissing?: boolean;
  }) => Driver;
  /** What the good tags read, in the order of the tags. */
  readonly values: readonly unknown[];
  /** `timeoutMs` of the device. */
  readonly timeoutMs: number;
  /** Whether the device says of itself that it is a simulator. */
  readonly setTellsSimulated: (tells: boolean) => void;
  /** Whether it takes requests and never answers. */
  readonly setSilent: (silent: boolean) => void;
  /** Everything that was connected is cut at once; new connections are welcome. */
  readonly cut: () => void;
  /** Connections to the device that are open now. */
  readonly open: () => number;
  /** Ends the device and what its drivers share (a line, a session). Callable twice. */
  readonly close: () => Promise<void>;
};

export type SuiteOptions = {
  readonly start: () => Promise<SuiteDevice>;
  /** What codes of this protocol begin with; CONNECTION_ and LINE_ are everybody's. */
  readonly codes: RegExp;
};

const never = new AbortController().signal;
/** How long a driver may take to end what the signal aborts: the collector's own bound is 800 ms. */
const abortBoundMs = 800;

async function thrownBy(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    (value) => {
      throw new Error(`expected to be rejected, gave ${JSON.stringify(value)}`);
    },
    (thrown: unknown) => thrown,
  );
}

/** Every field that whoever stands in front of the cabinet needs, and the status that samples carry. */
function expectComplete(thrown: unknown, codes: RegExp): void {
  expect(thrown).toBeInstanceOf(JilianError);
  const { code, message, action, remedy, device, address, status } = thrown as JilianError;
  expect(code).toMatch(codes);
  for (const text of [message, action, remedy, address]) expect(text).toMatch(/\S/);
  expect(device).toBe("device");
  expect(qualityOf(status ?? Status.Good)).toBe("bad");
}

const sockets = () => process.getActiveResourcesInfo().filter((kind) => /TCPSocketWrap|TTYWrap/.test(kind)).length;
const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;

/** What every driver must do, whatever its protocol: the contract of `Driver` in gateway/model.ts. */
export function driverConformance(name: string, { start, codes }: SuiteOptions): void {
  describe(name, () => {
    let device: SuiteDevice;
    let made: Driver[] = [];
    const create = (options?: Parameters<SuiteDevice["create"]>[0]) => {
      const driver = device.create(options);
      made.push(driver);
      return driver;
    };
    beforeEach(async () => {
      device = await start();
    });
    afterEach(async () => {
      for (const driver of made.splice(0)) await driver.close();
      made = [];
      await device.close();
    });

    async function connected(options?: Parameters<SuiteDevice["create"]>[0]): Promise<Driver> {
      const driver = create(options);
      await driver.connect(never);
      return driver;
    }

    /**
     * Every tag reads its value, and the missing one, where there is one, is bad. A driver that is told of changes may need some reads
     * for that; a value that is good and wrong is a fault at once.
     */
    async function expectReads(driver: Driver, withMissing = false): Promise<void> {
      const wanted = [...device.values.map((value) => `${value} good`), ...(withMissing ? ["null bad"] : [])];
      const last: string[] = [];
      const wrong: RawReading[] = [];
      const read = async () => {
        for (const reading of await driver.read(never)) {
          const quality = qualityOf(reading.status);
          if (quality === "good" && reading.value !== device.values[reading.tag]) wrong.push(reading);
          last[reading.tag] = `${reading.value} ${quality}`;
        }
        return last;
      };
      await expect.poll(read).toEqual(wanted);
      expect(wrong).toEqual([]);
    }

    /** What a driver throws when its device cannot be read: at the connect or at a read after it, however many that takes. */
    async function failureOf(driver: Driver, boundMs: number): Promise<unknown> {
      const endMs = performance.now() + boundMs;
      let thrown: unknown;
      while (thrown === undefined && performance.now() < endMs) {
        await driver.read(never).catch((error: unknown) => {
          thrown = error ?? "nothing";
        });
        if (thrown === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return thrown;
    }

    it("reads every tag after a connect, again and again", async () => {
      const driver = await connected();
      await expectReads(driver);
      await expect(driver.read(never)).resolves.toBeInstanceOf(Array);
    });

    it("tells of a simulator where the device or the configuration does, and of none elsewhere", async () => {
      device.setTellsSimulated(false);
      const plain = create();
      expect(await plain.connect(never)).toEqual({ simulated: false });
      await plain.close();
      const configured = create({ simulated: true });
      expect(await configured.connect(never)).toEqual({ simulated: true });
      await configured.close();
      device.setTellsSimulated(true);
      expect(await create().connect(never)).toEqual({ simulated: true });
    });

    it("turns a tag bad alone that the device does not have", async () => {
      await expectReads(await connected({ withMissing: true }), true);
    });

    it("rejects reads before a connect and after a close, with every field of its error", async () => {
      const driver = create();
      expectComplete(await thrownBy(driver.read(never)), codes);
      await driver.connect(never);
      await driver.close();
      expectComplete(await thrownBy(driver.read(never)), codes);
    });

    it("can be closed twice, also when it never was connected, and connected again", async () => {
      const driver = create();
      await driver.close();
      await driver.connect(never);
      await driver.close();
      await driver.close();
      await driver.connect(never);
      await expectReads(driver);
    });

    it("can be connected again without a close, and reads as before", async () => {
      const driver = await connected();
      await driver.connect(never);
      await expectReads(driver);
    });

    it("rejects a connect whose signal has aborted already, and works after another one", async () => {
      const driver = create();
      expectComplete(await thrownBy(driver.connect(AbortSignal.abort())), codes);
      await driver.connect(never);
      await expectReads(driver);
    });

    it("ends a connect soon after its signal aborts", async () => {
      device.setSilent(true);
      const stop = new AbortController();
      const driver = create();
      const connecting = thrownBy(driver.connect(stop.signal).then(() => driver.read(stop.signal)));
      await until("a connection", () => device.open() > 0);
      const abortedMs = performance.now();
      stop.abort();
      expectComplete(await connecting, codes);
      expect(performance.now() - abortedMs).toBeLessThan(abortBoundMs);
    });

    it("rejects a read whose signal has aborted already", async () => {
      const driver = await connected();
      await expectReads(driver);
      expectComplete(await thrownBy(driver.read(AbortSignal.abort())), codes);
    });

    it("fails with a status and a code when the device falls silent, and reads again after a connect", async () => {
      const driver = await connected();
      await expectReads(driver);
      device.setSilent(true);
      expectComplete(await failureOf(driver, 20 * device.timeoutMs), codes);
      expectComplete(await thrownBy(driver.connect(never).then(() => driver.read(never))), codes);
      device.setSilent(false);
      await driver.close();
      await expect
        .poll(() =>
          driver.connect(never).then(
            () => "connected",
            () => "failed",
          ),
        )
        .toBe("connected");
      await expectReads(driver);
    });

    it("reads again after a cut, with or without another connect", async () => {
      const driver = await connected();
      await expectReads(driver);
      device.cut();
      const thrown = await failureOf(driver, 2 * device.timeoutMs);
      if (thrown !== undefined) {
        expectComplete(thrown, codes);
        await driver.close();
        await driver.connect(never);
      }
      await expectReads(driver);
    });

    it("leaves no connection, socket or timer behind, after good days and bad ones", async () => {
      const before = { sockets: sockets(), timers: timers() };
      for (let round = 0; round < 3; round += 1) {
        const driver = device.create();
        await driver.connect(never);
        await expectReads(driver);
        device.setSilent(true);
        const stop = new AbortController();
        const reading = driver.read(stop.signal).catch(() => undefined);
        stop.abort();
        await reading;
        device.setSilent(false);
        await driver.close();
      }
      await device.close();
      const left = () => [device.open(), sockets() > before.sockets, timers() > before.timers].some(Boolean);
      await until("nothing is left", () => !left());
    });
  });
}
