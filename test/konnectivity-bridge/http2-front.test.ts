import { startHttp2Front } from '../../src/konnectivity-bridge/http2-front.ts';
import { describeFrontClients } from '../contracts/front-clients.contract.ts';
import { describeFront } from '../contracts/front.contract.ts';

describeFront('node:http2', startHttp2Front);
describeFrontClients('node:http2', startHttp2Front);
