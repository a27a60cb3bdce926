import { describe, expect, it } from 'vitest';
import { isFollowed, isLongRequest } from '../../src/http-exchange/long-request.ts';

const pods = '/api/v1/namespaces/default/pods';

describe('A long request', () => {
  it.each([
    `${pods}?watch=true`,
    `${pods}?watch=1`,
    `${pods}?watch`,
    `${pods}?watch=`,
    `${pods}?watch=yes`,
    `${pods}?limit=5&watch=TRUE`,
    `${pods}?w%61tch=tru%65`,
    `${pods}?watch=true&watch=false`,
    `${pods}/p/log?follow=true`,
    `${pods}/p/log?tailLines=1&follow=1`,
    '/api/v1/watch/pods',
    '/apis/apps/v1/watch/namespaces/default/deployments?x=1',
  ])('The GET of %s is a long request', (path) => {
    expect(isLongRequest({ method: 'GET', path, headers: [] }, false)).toBe(true);
  });

  it.each([
    pods,
    '/watch=true',
    `${pods}?watch=false`,
    `${pods}?watch=FALSE`,
    `${pods}?watch=0`,
    `${pods}?watch=false&watch=true`,
    `${pods}?notwatch=true`,
    `${pods}?watch;=true`,
    `${pods}?watch=%zz`,
    `${pods}/p/log?follow=false`,
    `${pods}/watch/x`,
    '/api/v1/namespaces/watch/pods',
    '/x?y=/api/v1/watch/pods',
  ])('The GET of %s is not a long request', (path) => {
    expect(isLongRequest({ method: 'GET', path, headers: [] }, false)).toBe(false);
  });

  it('A request with another method, with a body or for an upgrade is not a long request', () => {
    const path = `${pods}?watch=true`;
    expect(isLongRequest({ method: 'POST', path, headers: [] }, false)).toBe(false);
    expect(isLongRequest({ method: 'GET', path, headers: [] }, true)).toBe(false);
    const headers = [
      ['Connection', 'keep-alive, Upgrade'],
      ['Upgrade', 'websocket'],
    ] as const;
    expect(isLongRequest({ method: 'GET', path, headers }, false)).toBe(false);
  });
});

it('A log is followed if the kube-apiserver reads the parameter as true', () => {
  expect([`${pods}/p/log?follow`, `${pods}/p/log?follow=T`].map(isFollowed)).toEqual([true, true]);
  expect([`${pods}/p/log`, `${pods}/p/log?follow=0`].map(isFollowed)).toEqual([false, false]);
});
