// Decorators of the ASN.1 schemas need it, before anything else of the package is loaded.
import 'reflect-metadata';

/** The door to the package: the other files here get it from this one. */
export * as x509 from '@peculiar/x509';
