import { hash, randomBytes } from 'node:crypto';

const key = randomBytes(32).toString('base64');

/**
 * SHA-256 of this process's key and a text. Web Crypto takes a turn of the event loop and a thread
 * for each digest. An HMAC would take three times as long, and is not needed, because nobody else
 * gets to see or to give a digest.
 */
export const keyedDigest = (text: string): string => hash('sha256', key + text, 'binary');
