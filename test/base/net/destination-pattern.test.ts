import { describe, expect, it } from 'vitest';
import { parseDestinationPattern } from '../../../src/base/net/destination-pattern.ts';
import { ValueError } from '../../../src/base/value-error.ts';

describe('parseDestinationPattern', () => {
  it.each([
    ['db.internal:5432', 'db.internal', 5432, true],
    ['DB.internal:5432', 'db.internal', 5432, true],
    ['db.internal:5432', 'db.internal', 5433, false],
    ['*.svc:80', 'web.shop.svc', 80, true],
    ['*.svc:80', 'evilsvc', 80, false],
    ['10.1.0.0/16:443', '10.1.2.3', 443, true],
    ['10.1.0.0/16:443', '10.2.2.3', 443, false],
    ['[fd00::]/8:*', 'fd12::1', 9, true],
    ['[fd00::/8]:443', 'fd12::1', 443, true],
    ['[::/0]:443', 'fd12::1', 443, true],
    ['[::/0]:443', '10.0.0.1', 443, false],
    ['[::/0]:443', '::ffff:10.0.0.1', 443, false],
    ['10.0.0.0/8:443', '::ffff:10.0.0.1', 443, true],
    ['[::ffff:10.0.0.1]:443', '10.0.0.1', 443, true],
    ['[::1]:443', '0:0:0:0:0:0:0:1', 443, true],
    ['[fe80::1]:443', 'fe80::1%eth0', 443, true],
    ['localhost:80', '127.0.0.1', 80, false],
  ])('The destination pattern %s matches %s:%i: %s', (pattern, host, port, is) => {
    expect(parseDestinationPattern(pattern).matches(host, port)).toBe(is);
  });

  it.each([
    'db.internal',
    'db.internal:http',
    'a:b:80',
    ':80',
    'x:70000',
    'a b:80',
    '10.0.0.0/33:80',
    // If an empty prefix length were read as the number 0, the range would contain all addresses.
    '10.0.0.0/:80',
    '10.0.0.0/8/9:80',
    'name/8:80',
    '[fd00::]/129:80',
    'a*b:80',
    '*.*.svc:80',
    '**:80',
  ])('parseDestinationPattern refuses %j', (pattern) => {
    expect(() => parseDestinationPattern(pattern)).toThrow(ValueError);
  });
});
