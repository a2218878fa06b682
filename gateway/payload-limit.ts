/** A tenth below the limit of the platform's broker, 1 MiB. */
export const defaultMaxPayloadBytes = 900_000;
