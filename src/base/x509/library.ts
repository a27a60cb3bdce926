// The decorators of the ASN.1 schemas need it, so it must load before any other part of the
// package.
import 'reflect-metadata';

/** The package. The other files of this folder import it only from here. */
export * as x509 from '@peculiar/x509';
