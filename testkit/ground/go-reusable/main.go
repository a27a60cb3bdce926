// Command reusable dials many targets over one connection, with the reusable tunnel of konnectivity-client 0.37. It has a
// few bytes echoed on each stream while all others are open, prints one line of JSON and exits 0 when all went as they
// should, else 1.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	konnectivity "sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

func main() {
	address := flag.String("front", "", "HOST:PORT of the front")
	ca := flag.String("ca", "", "file with the CA of the front's certificate")
	cert := flag.String("cert", "", "client certificate file")
	key := flag.String("key", "", "key file of the client certificate")
	to := flag.String("to", "", "HOST:PORT to dial through the front, an echo server")
	count := flag.Int("count", 1, "number of streams")
	limit := flag.Duration("timeout", time.Minute, "limit for the whole command")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	connections, err := run(ctx, *address, *ca, *cert, *key, *to, *count)
	out := map[string]any{"ok": err == nil, "connections": connections}
	if err != nil {
		out["error"] = err.Error()
	}
	line, _ := json.Marshal(out)
	fmt.Println(string(line))
	if err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, address, ca, cert, key, to string, count int) (int64, error) {
	config, err := clientTLS(ca, cert, key)
	if err != nil {
		return 0, err
	}
	var connections atomic.Int64
	dialer := func(ctx context.Context, address string) (net.Conn, error) {
		connections.Add(1)
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	tunnel, err := konnectivity.CreateGRPCTunnel(ctx, address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithContextDialer(dialer))
	if err != nil {
		return connections.Load(), err
	}
	var opened, ended sync.WaitGroup
	opened.Add(count)
	errs := make([]error, count)
	for i := range count {
		ended.Go(func() { errs[i] = echo(ctx, tunnel, to, i, &opened) })
	}
	ended.Wait()
	errs = append(errs, tunnel.Close())
	return connections.Load(), errors.Join(errs...)
}

// echo reads back what it has sent, and closes its stream after all streams have been opened.
func echo(ctx context.Context, tunnel konnectivity.ReusableTunnel, to string, i int, opened *sync.WaitGroup) error {
	conn, err := tunnel.DialContext(ctx, "tcp", to)
	if err != nil {
		opened.Done()
		return fmt.Errorf("stream %d: dial: %w", i, err)
	}
	sent := fmt.Sprintf("stream %d\n", i)
	got := make([]byte, len(sent))
	_, err = io.WriteString(conn, sent)
	if err == nil {
		_, err = io.ReadFull(conn, got)
	}
	opened.Done()
	if err != nil {
		return fmt.Errorf("stream %d: %w", i, err)
	}
	if string(got) != sent {
		return fmt.Errorf("stream %d: echo of %q is %q", i, sent, got)
	}
	opened.Wait()
	return conn.Close()
}

func clientTLS(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", ca)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}
