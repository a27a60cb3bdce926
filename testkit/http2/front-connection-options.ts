import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { BusyWindows } from '../../src/http2/busy-windows.ts';
import { defaultFrontLimits } from '../../src/konnectivity/front-limits.ts';

/** A connection of a front without TLS and without services, for tests of its socket. */
export const frontConnectionOptions = {
  peer: 'a client',
  subject: undefined,
  methods: new Map<string, never>(),
  limits: defaultFrontLimits,
  busyWindows: new BusyWindows(defaultFrontLimits),
  clock: systemClock,
  log: silentLogger,
} as const;
