import { startFront } from '../../src/konnectivity/front-listener.ts';
import { describeFrontClients } from '../contracts/front-clients.contract.ts';
import { describeFront } from '../contracts/front.contract.ts';

describeFront('our own HTTP/2', startFront);
describeFrontClients('our own HTTP/2', startFront);
