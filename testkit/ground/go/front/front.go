// Package front dials through a konnectivity front the way its users do: one single-use tunnel for each connection.
package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	konnectivity "sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

// Front is where the proxy listens and how it is spoken to.
type Front struct {
	Address string
	CA      string
	Cert    string
	Key     string

	options []grpc.DialOption
}

// Register adds the flags that describe a front.
func (f *Front) Register(flags *flag.FlagSet) {
	flags.StringVar(&f.Address, "front", "", "HOST:PORT, unix:PATH, or uds:PATH to dial a Unix socket as kube-apiserver does")
	flags.StringVar(&f.CA, "ca", "", "file with the CA of the front's certificate")
	flags.StringVar(&f.Cert, "cert", "", "client certificate file; without it and without --ca the front is plaintext")
	flags.StringVar(&f.Key, "key", "", "key file of the client certificate")
}

// Open reads the certificates. It is called once, after the flags are parsed.
func (f *Front) Open() error {
	if f.Address == "" {
		return fmt.Errorf("--front is needed")
	}
	if path, ok := strings.CutPrefix(f.Address, "uds:"); ok {
		// kube-apiserver names the socket's path as the address, so it becomes the :authority too, and it
		// waits for our side of the HTTP/2 connection before it opens the stream.
		f.Address = path
		f.options = []grpc.DialOption{
			grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return net.Dial("unix", path) }),
			grpc.WithBlock(),
			grpc.WithReturnConnectionError(),
			grpc.WithTimeout(30 * time.Second),
		}
	}
	if f.CA == "" && f.Cert == "" {
		f.options = append(f.options, grpc.WithTransportCredentials(insecure.NewCredentials()))
		return nil
	}
	config, err := f.TLS()
	if err != nil {
		return err
	}
	f.options = append(f.options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	return nil
}

// TLS reads the CA and the client certificate.
func (f *Front) TLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Tunnel opens a single-use tunnel. ctx bounds only the opening; the tunnel lives until its connection is closed.
func (f *Front) Tunnel(ctx context.Context) (konnectivity.Tunnel, error) {
	return konnectivity.CreateSingleUseGrpcTunnelWithContext(ctx, context.Background(), f.Address, f.options...)
}

// Dial connects to address through a tunnel of its own.
func (f *Front) Dial(ctx context.Context, address string) (net.Conn, error) {
	tunnel, err := f.Tunnel(ctx)
	if err != nil {
		return nil, err
	}
	return tunnel.DialContext(ctx, "tcp", address)
}
