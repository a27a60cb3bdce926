import { describe, expect, it } from 'vitest';
import { RelayBacklog } from '../../src/broker/relay-backlog.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { Link } from '../../src/tunnel/link.ts';

const limits = { maxBacklogBytes: 100, maxTotalBacklogBytes: 250, largeBacklogBytes: 10 };

/** A link whose other end reads only when the test says so. */
class FullLink {
  room = 0;
  closedWith: TunnelError | undefined;
  readonly peer: string;

  constructor(peer: string) {
    this.peer = peer;
  }

  close(error?: TunnelError): void {
    this.closedWith = error;
    this.room = 0;
  }
}

function give(backlog: RelayBacklog, link: FullLink, bytes: number): void {
  if (link.closedWith === undefined) link.room -= bytes;
  backlog.given(link as unknown as Link, bytes);
}

describe('RelayBacklog', () => {
  it('The backlog closes a link for which too many bytes wait', () => {
    const backlog = new RelayBacklog(limits);
    const link = new FullLink('a');
    give(backlog, link, 99);
    expect(link.closedWith).toBeUndefined();
    give(backlog, link, 1);
    expect(link.closedWith).toMatchObject({
      code: 'overloaded',
      message: expect.stringMatching(/wait for a$/),
    });
  });

  it('The backlog closes the link with the largest backlog when too many bytes wait for all links', () => {
    const backlog = new RelayBacklog(limits);
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => new FullLink(name));
    give(backlog, a!, 60);
    give(backlog, b!, 90);
    give(backlog, c!, 80);
    expect([a, b, c].map((link) => link!.closedWith)).toEqual([undefined, undefined, undefined]);
    give(backlog, d!, 30);
    expect(b!.closedWith).toMatchObject({
      code: 'overloaded',
      message: expect.stringMatching(/most of them for b$/),
    });
    expect([a, c, d].map((link) => link!.closedWith)).toEqual([undefined, undefined, undefined]);
  });

  it('The backlog keeps a link that reads again, and stops counting it', () => {
    const backlog = new RelayBacklog(limits);
    const links = Array.from({ length: 20 }, (_, at) => new FullLink(`${at}`));
    for (const link of links) {
      give(backlog, link, 90);
      link.room = 0;
    }
    expect(links.filter(({ closedWith }) => closedWith !== undefined)).toEqual([]);
  });

  it('The backlog counts only large backlogs', () => {
    const backlog = new RelayBacklog(limits);
    const links = Array.from({ length: 100 }, (_, at) => new FullLink(`${at}`));
    for (const link of links) give(backlog, link, 9);
    expect(links.filter(({ closedWith }) => closedWith !== undefined)).toEqual([]);
  });
});
