package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	konnectivity "sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

// tunnel dials through culvert. One connection of the konnectivity client carries one connection, so each dial opens its own.
type tunnel struct {
	proxy string
	tls   *tls.Config
}

func newTunnel(proxy, serverName, directory string) (*tunnel, error) {
	pem, err := os.ReadFile(filepath.Join(directory, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s/ca.crt has no certificate", directory)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key"))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		Certificates: []tls.Certificate{pair},
		ServerName:   serverName,
	}
	return &tunnel{proxy: proxy, tls: config}, nil
}

// DialContext connects to an address such as cluster1:443. It fits the field Dial of rest.Config.
func (t *tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	// The second context limits the life of the connection, which is longer than the dial.
	single, err := konnectivity.CreateSingleUseGrpcTunnelWithContext(
		ctx,
		context.Background(),
		t.proxy,
		grpc.WithTransportCredentials(credentials.NewTLS(t.tls)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	return single.DialContext(ctx, network, address)
}
