package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	konnectivity "sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

// front is a konnectivity server through which connections are dialed.
type front struct {
	address, ca, cert, key string
}

func (f *front) register(flags *flag.FlagSet) {
	flags.StringVar(&f.address, "front", "", "HOST:PORT of a konnectivity server through which to dial")
	flags.StringVar(&f.ca, "front-ca", "", "file with its CA")
	flags.StringVar(&f.cert, "front-cert", "", "client certificate for it")
	flags.StringVar(&f.key, "front-key", "", "key of the client certificate")
}

func (f *front) dial(ctx context.Context, network, address string) (net.Conn, error) {
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", f.ca)
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	tunnel, err := konnectivity.CreateSingleUseGrpcTunnelWithContext(
		ctx, context.Background(), f.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return nil, err
	}
	return tunnel.DialContext(ctx, network, address)
}
