import { startHttp2Front } from '../../src/konnectivity/http2-front.ts';
import { describeFrontClients } from '../contracts/front-clients.contract.ts';
import { describeFront } from '../contracts/front.contract.ts';

describeFront('node:http2', startHttp2Front);
describeFrontClients('node:http2', startHttp2Front);
