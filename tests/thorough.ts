/**
 * Whether everything is tested (`JILIAN_TESTS=all`, as CI does), also what takes minutes more: the path test and the oracle of the figures
 * on InfluxDB, and every mutation of the fault matrix.
 */
export const isThorough: boolean = process.env.JILIAN_TESTS === "all";
