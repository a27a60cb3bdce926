package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	konnectivity "sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

// user is who dials: what the hub gave him for the proxy, and what the managed cluster gave him.
type user struct {
	proxy       string
	serverName  string
	credentials string
	kubeconfig  string
	cluster     string

	tls *tls.Config
}

func (u *user) register(flags *flag.FlagSet) {
	flags.StringVar(&u.proxy, "proxy", "", "HOST:PORT of proxy-entrypoint")
	flags.StringVar(&u.serverName, "server-name", "localhost", "name in the certificate of the proxy")
	flags.StringVar(&u.credentials, "credentials", "", "directory with ca.crt of the Secret proxy-server-ca, tls.crt and tls.key of proxy-client")
	flags.StringVar(&u.kubeconfig, "kubeconfig", "", "credentials for the managed cluster; its server is not used")
	flags.StringVar(&u.cluster, "cluster", "", "name of the managed cluster")
}

func (u *user) open() error {
	// One that is replaced meanwhile, as the kubelet does it, must not give a certificate and the key of another.
	directory, err := filepath.EvalSymlinks(u.credentials)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(filepath.Join(directory, "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s/ca.crt", directory)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key"))
	if err != nil {
		return err
	}
	u.tls = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		Certificates: []tls.Certificate{pair},
		ServerName:   u.serverName,
	}
	return nil
}

// dial connects to an address behind the proxy through a tunnel of its own.
func (u *user) dial(ctx context.Context, network, address string) (net.Conn, error) {
	tunnel, err := konnectivity.CreateSingleUseGrpcTunnelWithContext(
		ctx,
		context.Background(),
		u.proxy,
		grpc.WithTransportCredentials(credentials.NewTLS(u.tls)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	return tunnel.DialContext(ctx, network, address)
}

func (u *user) config() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", u.kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.Host = u.cluster
	cfg.Dial = u.dial
	// The name of the cluster is in no certificate.
	cfg.TLSClientConfig.Insecure = true
	cfg.TLSClientConfig.CAData = nil
	cfg.TLSClientConfig.CAFile = ""
	cfg.QPS = -1
	return cfg, nil
}

// client comes with a function that closes its connections.
func (u *user) client() (*kubernetes.Clientset, func(), error) {
	cfg, err := u.config()
	if err != nil {
		return nil, nil, err
	}
	transport, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfigAndClient(cfg, transport)
	return client, func() { utilnet.CloseIdleConnectionsFor(transport.Transport) }, err
}
